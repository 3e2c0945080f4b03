"""The chunks of a chat as the events of a message.

A chunk may hold a thought, text and calls at once; each kind has a block of its own, in this order. Blank text between
blocks opens none. A model that changes between thinking and text with every chunk would tear its text to pieces: after
some changes its thoughts wait until the text ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.messages.answers.block_writer import BlockWriter
from argoproxy.protocol.messages.answers.tool_blocks import ToolBlocks
from argoproxy.protocol.messages.answers.usage import BYTES_A_TOKEN, to_messages_usage
from argoproxy.protocol.reasoning.makers import mark, no_mark
from argoproxy.protocol.reasoning.thought_fields import FieldReader
from argoproxy.protocol.stream.chunks import iterate_choices

#: How often a thought may follow a text within one message.
MOST_CHANGES = 4
_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_REFUSAL = {"type": "refusal", "category": None, "explanation": None}


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What is known of a message before its first chunk: `names` are the original names of tools whose name was
    shortened, `input_tokens` is an estimate, `maker` returns the mark of the upstream,
    which is certain when the first chunk has come."""

    request_id: str
    model: str
    input_tokens: int
    names: Mapping[str, str] = field(default_factory=dict)
    maker: Callable[[], str] = no_mark


class MessageEvents:
    """Makes the events of one message; the chunks of one chat come in, one by one."""

    def __init__(self, head: MessageHead) -> None:
        self._head = head
        self._blocks = BlockWriter()
        self._tools = ToolBlocks(self._blocks, head.names, head.request_id)
        self._reader = FieldReader()
        self._is_begun = self._is_refused = False
        #: Blank text, and text that came while a call was not complete.
        self._held_texts: list[str] = []
        self._has_late_text = False
        self._late_thoughts: list[str] = []
        self._changes = self._size = 0
        self._usage: Json = {}
        self._finish: Json = {}

    @property
    def open_text(self) -> int | None:
        """The number of the block that the next text belongs to, if it is open and nothing else waits."""
        return self._blocks.index if self._blocks.kind == "text" else None

    @property
    def is_keeping(self) -> bool:
        """Whether something of the chunks is kept: tool calls, and what waits for its block."""
        return bool(self._tools.has_calls or self._held_texts or self._late_thoughts or self._blocks.details)

    def count_text(self, size: int) -> None:
        """Note characters of text that were written without this object."""
        self._size += size

    def add(self, chunk: Json) -> Sequence[Json]:
        """Take a chunk; return the events that it makes. Raises UpstreamProtocolError."""
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        for index, choice in iterate_choices(chunk.get("choices")):
            if index == 0:
                self._begin(chunk)
                self._add_choice(choice)
        return self._blocks.take()

    def finish(self) -> Sequence[Json]:
        """Take the end of the chat; return the last events."""
        self._begin({})
        self._tools.finish()
        if self._has_late_text:
            self._blocks.add_text("".join(self._held_texts))
        self._blocks.close()
        self._write_late_thought()
        self._blocks.close()
        self._blocks.flush_details()
        self._blocks.events += [{"type": "message_delta", **self._ending()}, {"type": "message_stop"}]
        return self._blocks.take()

    def _begin(self, chunk: Json) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        message: Json = {
            "id": f"msg_{self._head.request_id}",
            "type": "message",
            "role": "assistant",
            "model": as_text(chunk.get("model")) or self._head.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**self._counts(), "output_tokens": 0},
        }
        self._blocks.events.append({"type": "message_start", "message": message})

    def _add_choice(self, choice: Json) -> None:
        delta = as_dict(choice.get("delta"))
        self._blocks.details += mark(_new_details(delta.get("reasoning_details")), self._head.maker())
        self._add_thought(self._reader.read(delta))
        self._add_text(_text_of(delta.get("content")))
        if refusal := as_text(delta.get("refusal")):
            self._is_refused = True
            self._add_text(refusal)
        for fragment in as_dicts(delta.get("tool_calls")):
            self._add_call(fragment)
        if isinstance(delta.get("function_call"), dict):
            self._add_call({"index": 0, "function": delta["function_call"]})
        if choice.get("finish_reason"):
            self._finish = choice

    def _add_thought(self, thought: str) -> None:
        self._size += len(thought)
        if not thought or (not thought.strip() and self._blocks.kind != "thinking"):
            return
        if self._blocks.kind == "tool_use" and not self._tools.settle():
            self._late_thoughts.append(thought)
            return
        if self._blocks.kind == "text":
            self._changes += 1
            if self._changes > MOST_CHANGES:
                self._late_thoughts.append(thought)
                return
        self._blocks.add_thought(thought)

    def _add_text(self, text: str) -> None:
        self._size += len(text)
        if not text:
            return
        if self._blocks.kind == "text":
            self._blocks.add_text(text)
            return
        self._held_texts.append(text)
        self._has_late_text = self._has_late_text or bool(text.strip())
        if self._has_late_text and (self._blocks.kind != "tool_use" or self._tools.settle()):
            held, self._held_texts, self._has_late_text = "".join(self._held_texts), [], False
            self._blocks.add_text(held)

    def _add_call(self, fragment: Json) -> None:
        self._size += len(as_text(as_dict(fragment.get("function")).get("arguments")))
        self._write_late_thought()
        self._tools.add(fragment)

    def _write_late_thought(self) -> None:
        if self._late_thoughts and self._blocks.kind != "tool_use":
            thoughts, self._late_thoughts = self._late_thoughts, []
            self._blocks.add_thought("".join(thoughts))

    def _ending(self) -> Json:
        reason = self._finish.get("finish_reason")
        stop_reason = _STOP_REASONS.get(as_text(reason))
        matched = self._finish.get("stop_reason")
        sequence = matched if isinstance(matched, str) and reason == "stop" else None
        if stop_reason is None:
            ends_by_itself = "stop_sequence" if sequence is not None else "end_turn"
            stop_reason = "tool_use" if self._tools.has_any else "refusal" if self._is_refused else ends_by_itself
        delta: Json = {"stop_reason": stop_reason, "stop_sequence": sequence}
        if stop_reason == "refusal":
            delta["stop_details"] = _REFUSAL
        return {"delta": delta, "usage": self._counts()}

    def _counts(self) -> Json:
        if self._usage:
            return to_messages_usage(self._usage)
        return {"input_tokens": self._head.input_tokens, "output_tokens": -(-self._size // BYTES_A_TOKEN)}


def _text_of(content: Any) -> str:
    """Return the text of a content, a string or parts."""
    return content if isinstance(content, str) else "".join(as_text(part.get("text")) for part in as_dicts(content))


def _new_details(details: Any) -> list[Json]:
    """Return what a delta holds beside the text of a thought and has to go back to the upstream."""
    bare = [{key: value for key, value in item.items() if key not in ("text", "summary")} for item in as_dicts(details)]
    return [item for item in bare if item.get("signature") or item.get("data")]
