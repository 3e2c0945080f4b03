"""Assemble a whole completion from its chunks; the inverse of `chunks.split_completion`.

That holds whatever the document contains: content, refusal, reasoning, tool calls, function_call, audio, logprobs,
annotations, several choices, usage, unknown fields at every level. Equivalent spellings become one: a missing
`finish_reason` or chat `content` comes back as null, a missing `role` as `assistant`. Indexes of a message's tool
calls only give their order, which is kept.

Time and memory are linear in the size of the chunks: strings, lists and objects grow in builders (`builders.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, loads
from argoproxy.protocol.stream.builders import (
    ObjectBuilder,
    TextBuilder,
    append_text,
    build,
    extend_lists,
    extend_texts,
    has_value,
    set_field,
)
from argoproxy.protocol.stream.chunks import ATOMIC_STRINGS, CHAT, CHAT_CHUNK, REPEATED, iterate_choices
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import CHOICE_NULLS
from argoproxy.protocol.stream.tool_calls import TOOL_KINDS, ToolCalls

#: Fields at the top of plain events of which the last value counts.
_LAST_COUNTS = ("provider", "obfuscation")
_LAST = re.compile(rb'"(provider|obfuscation)":("[^"\\]*+"|\d++)')


def assemble_completion(chunks: Iterable[Json]) -> Json:
    """Join the chunks of a stream to one completion."""
    assembly = CompletionAssembler()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.document()


class CompletionAssembler:
    """Joins chunks one by one."""

    def __init__(self) -> None:
        self._top: Json = {}
        self._choices: dict[int, _ChoiceAssembly] = {}
        #: How to recognise the fields that would change something in a run; None while that is not known.
        self._marks: tuple[bytes, ...] | None = None

    def add(self, chunk: Json) -> None:
        """Take the next chunk."""
        self._marks = None
        for key, value in chunk.items():
            if key == "choices":
                for index, choice in iterate_choices(value):
                    self._choices.setdefault(index, _ChoiceAssembly()).add(choice)
            elif key in REPEATED:
                self._top[key] = self._top.get(key) or value
            elif key not in self._top or has_value(value):
                self._top[key] = value

    def add_run(self, run: TextRun) -> None:
        """Take the chunks of a run."""
        rest: TextRun | None = run
        if self._has_more_than_text(run.raw):
            first, rest = run.cut_first()
            self.add(first.chunk or {})
        if rest and self._has_more_than_text(rest.raw):
            for event in rest.cut():
                self.add(event.chunk or {})
        elif rest:
            self._choices[0].add_text(rest.text())
            if any(key in self._top for key in _LAST_COUNTS):
                self._top |= {key.decode(): loads(value) for key, value in dict(_LAST.findall(rest.raw)).items()}

    def _has_more_than_text(self, raw: bytes) -> bool:
        """Return whether plain events may hold a field, beside the text, that an earlier chunk did not have."""
        choice = self._choices.get(0)
        if choice is None or not choice.is_begun_by_plain_event:
            return True
        if self._marks is None:
            # Of REPEATED only the first value counts; null where there was a value changes nothing.
            open_keys = [key for key in REPEATED if not self._top.get(key)]
            open_keys += [key for key in (*_LAST_COUNTS, "usage") if key not in self._top]
            self._marks = tuple(f'"{key}":'.encode() for key in open_keys) + choice.marks()
        for mark in self._marks:
            if mark in raw:
                return True
        return choice.has_new_null(raw)

    def document(self) -> Json:
        """Return the completion of all chunks so far."""
        top = dict(self._top)
        if top.get("object") == CHAT_CHUNK:
            top["object"] = CHAT
        usage = {"usage": top.pop("usage")} if "usage" in top else {}
        choices = [{"index": index, **self._choices[index].build()} for index in sorted(self._choices)]
        return {**top, "choices": choices, **usage}


class _ChoiceAssembly:
    def __init__(self) -> None:
        self._fields = ObjectBuilder()
        self._message = ObjectBuilder()
        self._is_chat = False
        self._calls = _ToolCallsAssembly()

    def add(self, choice: Json) -> None:
        for key, value in choice.items():
            if key == "delta":
                self._is_chat = True
                self._add_delta(as_dict(value))
            elif key == "text" and isinstance(value, str):
                append_text(self._fields, key, value)
            elif key == "logprobs" and isinstance(value, dict):
                self._fields[key] = extend_lists(self._fields.get(key), value)
            elif key == "finish_reason":
                self._fields[key] = value or self._fields.get(key) or value
            elif key != "index":
                set_field(self._fields, key, value)

    @property
    def is_begun_by_plain_event(self) -> bool:
        """Whether the fields that all plain events have came before."""
        return self._is_chat and "finish_reason" in self._fields

    def marks(self) -> tuple[bytes, ...]:
        """Return how to recognise fields that some plain events have, if they did not come before."""
        return () if "logprobs" in self._fields else (b'"logprobs":',)

    def has_new_null(self, raw: bytes) -> bool:
        """Return whether plain events have a field behind the finish reason that did not come before."""
        if b'"finish_reason":null,' not in raw:
            return False
        return any(b'"%s":null' % key.encode() in raw for key in CHOICE_NULLS if key not in self._fields)

    def add_text(self, text: str) -> None:
        """Take deltas that hold nothing but content."""
        append_text(self._message, "content", text)

    def build(self) -> Json:
        content: Json = {"text": ""}
        if self._is_chat:
            message = {"role": None, "content": None, **build(self._message), **self._calls.build()}
            content = {"message": {**message, "role": message["role"] or "assistant"}}
        return {**content, **build(self._fields), "finish_reason": self._fields.get("finish_reason")}

    def _add_delta(self, delta: Json) -> None:
        for key, value in delta.items():
            if key == "tool_calls":
                self._calls.add(value)
            elif key in ("function_call", "audio") and isinstance(value, dict):
                self._message[key] = extend_texts(self._message.get(key), value)
            elif isinstance(value, str) or isinstance(self._message.get(key), TextBuilder):
                append_text(self._message, key, value)
            else:
                set_field(self._message, key, value)


class _ToolCallsAssembly:
    """Joins the fragments of a message's tool calls."""

    def __init__(self) -> None:
        #: `tool_calls` as sent while no call has begun: null or an empty list.
        self._without_calls: Json = {}
        self._fragments = ToolCalls()
        self._calls: list[ObjectBuilder] = []

    def add(self, fragments: Any) -> None:
        set_field(self._without_calls, "tool_calls", fragments and [])
        for fragment in as_dicts(self._fragments.repair(fragments)):
            if fragment["index"] == len(self._calls):
                self._calls.append(ObjectBuilder())
            self._add_fragment(self._calls[fragment["index"]], fragment)

    def build(self) -> Json:
        return {"tool_calls": list(map(build, self._calls))} if self._calls else self._without_calls

    def _add_fragment(self, call: ObjectBuilder, fragment: Json) -> None:
        for key, value in fragment.items():
            if key in TOOL_KINDS and isinstance(value, dict):
                call[key] = extend_texts(call.get(key), value)
            elif key in ATOMIC_STRINGS:
                append_text(call, key, value)
            elif key != "index":
                set_field(call, key, value)
