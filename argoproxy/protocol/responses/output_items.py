"""The items of a response while they grow: each adds its events to the log, in the order in which clients expect them.

Order and required fields: OpenAI's API reference (Responses, streaming events); openai-node checks them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.responses.event_log import EventLog
from argoproxy.protocol.responses.tool_map import Tool, unwrap_input

IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class OutputItem(Protocol):
    """An item of the output."""

    def close(self, status: str) -> Json:
        """Add the last events of the item, and return it."""

    def build(self, status: str) -> Json:
        """Return the item so far."""


@dataclass(frozen=True, slots=True)
class ItemSlot:
    """Where an item stands: its log, its index in the output, its id."""

    log: EventLog
    index: int
    id: str

    def add(self, kind: str, **fields: Any) -> None:
        """Add an event about the content of the item."""
        self.log.add(kind, item_id=self.id, output_index=self.index, **fields)

    def begin(self, item: Json) -> None:
        """Add the event with which the item begins."""
        self.log.add("output_item.added", output_index=self.index, item=item)

    def end(self, item: Json) -> Json:
        """Add the event with which the item ends, and return the item."""
        self.log.add("output_item.done", output_index=self.index, item=item)
        return item


class MessageItem(OutputItem):
    """A message: parts with text or a refusal."""

    def __init__(self, slot: ItemSlot) -> None:
        self._slot = slot
        self._done: list[Json] = []
        self._part: TextPart | None = None
        slot.begin(self.build(IN_PROGRESS))

    def add_text(self, text: str, logprobs: list[Json]) -> None:
        """Add text to the part that is open, or to a new one."""
        self._open("output_text").add(text, logprobs)

    def add_refusal(self, text: str) -> None:
        """Add text of a refusal."""
        self._open("refusal").add(text, [])

    def annotate(self, annotation: Json) -> None:
        """Add an annotation to the text."""
        self._open("output_text").annotate(annotation)

    def close(self, status: str) -> Json:
        self._close_part()
        return self._slot.end(self.build(status))

    def build(self, status: str) -> Json:
        content = [*self._done, *([self._part.build()] if self._part else ())]
        return {"id": self._slot.id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _open(self, kind: str) -> TextPart:
        if self._part is None or self._part.kind != kind:
            self._close_part()
            self._part = TextPart(self._slot, len(self._done), kind)
        return self._part

    def _close_part(self) -> None:
        if self._part:
            self._done.append(self._part.close())
            self._part = None


class TextPart:
    """A part of a message; `kind` is output_text or refusal."""

    def __init__(self, slot: ItemSlot, index: int, kind: str) -> None:
        self.kind = kind
        self._slot = slot
        self._index = index
        self._texts: list[str] = []
        self._logprobs: list[Json] = []
        self._annotations: list[Json] = []
        slot.add("content_part.added", content_index=index, part=self.build())

    def add(self, text: str, logprobs: list[Json]) -> None:
        """Add text."""
        self._texts.append(text)
        self._logprobs += logprobs
        fields: Json = {"logprobs": logprobs} if self.kind == "output_text" else {}
        self._slot.add(f"{self.kind}.delta", content_index=self._index, delta=text, **fields)

    def annotate(self, annotation: Json) -> None:
        """Add an annotation."""
        self._slot.add(
            "output_text.annotation.added",
            content_index=self._index,
            annotation_index=len(self._annotations),
            annotation=annotation,
        )
        self._annotations.append(annotation)

    def close(self) -> Json:
        """Add the last events of the part, and return it."""
        part = self.build()
        done = {key: value for key, value in part.items() if key in ("text", "refusal", "logprobs")}
        self._slot.add(f"{self.kind}.done", content_index=self._index, **done)
        self._slot.add("content_part.done", content_index=self._index, part=part)
        return part

    def build(self) -> Json:
        """Return the part so far."""
        text = "".join(self._texts)
        if self.kind == "refusal":
            return {"type": self.kind, "refusal": text}
        annotations, logprobs = list(self._annotations), list(self._logprobs)
        return {"type": self.kind, "text": text, "annotations": annotations, "logprobs": logprobs}


@dataclass(frozen=True, slots=True)
class ThoughtForm:
    """What the events and fields of a thought are called."""

    #: The type of its only part, and the field of the item which holds that.
    part_type: str
    field: str
    #: The beginnings of its events' names, about the part and about its text; and the key of the part's index.
    part_events: str
    text_events: str
    index_key: str


#: A thought as a summary: the form that most clients show.
SUMMARY = ThoughtForm("summary_text", "summary", "reasoning_summary_part", "reasoning_summary_text", "summary_index")
#: A thought as it is.
REASONING_TEXT = ThoughtForm("reasoning_text", "content", "content_part", "reasoning_text", "content_index")


class ReasoningItem(OutputItem):
    """A thought, in one of two forms."""

    def __init__(self, slot: ItemSlot, form: ThoughtForm) -> None:
        self._slot = slot
        self._form = form
        self._index = {form.index_key: 0}
        self._texts: list[str] = []
        self.encrypted: str | None = None
        slot.begin(self.build(IN_PROGRESS))

    def add_text(self, text: str) -> None:
        """Add text of the thought."""
        form = self._form
        if not self._texts:
            self._slot.add(f"{form.part_events}.added", **self._index, part=self._build_part())
        self._texts.append(text)
        self._slot.add(f"{form.text_events}.delta", **self._index, delta=text)

    def close(self, status: str) -> Json:
        if self._texts:
            part = self._build_part()
            self._slot.add(f"{self._form.text_events}.done", **self._index, text=part["text"])
            self._slot.add(f"{self._form.part_events}.done", **self._index, part=part)
        return self._slot.end(self.build(status))

    def build(self, status: str) -> Json:
        parts = [self._build_part()] if self._texts else []
        encrypted = {} if self.encrypted is None else {"encrypted_content": self.encrypted}
        return {"id": self._slot.id, "type": "reasoning", "summary": [], self._form.field: parts, **encrypted}

    def _build_part(self) -> Json:
        return {"type": self._form.part_type, "text": "".join(self._texts)}


class _ToolCallItem(OutputItem):
    """What calls of both kinds of tools have in common."""

    def __init__(self, slot: ItemSlot, tool: Tool, call_id: str) -> None:
        self._slot = slot
        self._tool = tool
        self._call_id = call_id
        self._arguments: list[str] = []
        slot.begin(self.build(IN_PROGRESS))

    def _build(self, kind: str, status: str, **content: str) -> Json:
        namespace = {"namespace": self._tool.namespace} if self._tool.namespace else {}
        top = {"id": self._slot.id, "type": kind, "status": status, "call_id": self._call_id}
        return {**top, "name": self._tool.name, **namespace, **content}


class CallItem(_ToolCallItem):
    """A call of a function."""

    def add(self, arguments: str) -> None:
        """Add a piece of the arguments."""
        self._arguments.append(arguments)
        self._slot.add("function_call_arguments.delta", delta=arguments)

    def close(self, status: str) -> Json:
        item = self.build(status)
        self._slot.add("function_call_arguments.done", name=self._tool.name, arguments=item["arguments"])
        return self._slot.end(item)

    def build(self, status: str) -> Json:
        return self._build("function_call", status, arguments="".join(self._arguments))


class CustomCallItem(_ToolCallItem):
    """A call of a custom tool. Its input comes inside of JSON, and can be read when that is complete."""

    def add(self, arguments: str) -> None:
        """Add a piece of the arguments."""
        self._arguments.append(arguments)

    def close(self, status: str) -> Json:
        item = self.build(status)
        self._slot.add("custom_tool_call_input.delta", delta=item["input"])
        self._slot.add("custom_tool_call_input.done", input=item["input"])
        return self._slot.end(item)

    def build(self, status: str) -> Json:
        return self._build("custom_tool_call", status, input=unwrap_input("".join(self._arguments)))
