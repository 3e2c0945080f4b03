"""Assemble a whole completion from its chunks; the inverse of `chunks.split_completion`.

That holds whatever the document contains: content, refusal, reasoning, tool calls, function_call, audio, logprobs,
annotations, several choices, usage, unknown fields at every level. Equivalent spellings become one: a missing
`finish_reason` or chat `content` comes back as null, a missing `role` as `assistant`. Indexes of a message's tool
calls only give their order, which is kept.

Time and memory are linear in the size of the chunks: strings, lists and objects grow in builders (`TextBuilder`,
`ListBuilder`, `ObjectBuilder`), and `build` turns them into plain JSON at the end. Values from the upstream are
never edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts
from argoproxy.protocol.stream.chunks import ATOMIC_STRINGS, CHAT, CHAT_CHUNK, REPEATED, iterate_choices
from argoproxy.protocol.stream.tool_calls import ARGUMENTS, TOOL_KINDS, ToolCalls, arguments_as_text

#: Pieces of a string are joined when there are this many: a list of short strings takes many times the
#: memory of its text.
MAX_PIECES = 1024

_TEXT_PARTS = {"text": "text"}
#: Types of list items that continue in the next delta, and the field that grows: Mistral's content, OpenRouter's
#: reasoning_details.
_GROWING_PARTS = {**_TEXT_PARTS, "thinking": "thinking", "reasoning.text": "text", "reasoning.summary": "summary"}


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

    def add(self, chunk: Json) -> None:
        """Take the next chunk."""
        for key, value in chunk.items():
            if key == "choices":
                for index, choice in iterate_choices(value):
                    self._choices.setdefault(index, _ChoiceAssembly()).add(choice)
            elif key in REPEATED:
                self._top[key] = self._top.get(key) or value
            elif key not in self._top or _has_value(value):
                self._top[key] = value

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
                _append_text(self._fields, key, value)
            elif key == "logprobs" and isinstance(value, dict):
                self._fields[key] = _extend_lists(self._fields.get(key), value)
            elif key == "finish_reason":
                self._fields[key] = value or self._fields.get(key) or value
            elif key != "index":
                set_field(self._fields, key, value)

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
                self._message[key] = _extend_texts(self._message.get(key), value)
            elif isinstance(value, str) or isinstance(self._message.get(key), TextBuilder):
                _append_text(self._message, key, value)
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
                call[key] = _extend_texts(call.get(key), value)
            elif key in ATOMIC_STRINGS:
                _append_text(call, key, value)
            elif key != "index":
                set_field(call, key, value)


class ObjectBuilder(dict[str, Any]):
    """An object that still grows."""


class TextBuilder:
    """A string that still grows."""

    __slots__ = ("_blocks", "_pieces")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._pieces: list[str] = []

    def append(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) == MAX_PIECES:
            self._blocks.append("".join(self._pieces))
            self._pieces.clear()

    def __str__(self) -> str:
        return "".join([*self._blocks, *self._pieces])


class ListBuilder(list[Any]):
    """A list that still grows."""

    def extend_joining(self, items: list[Any], growing: Mapping[str, str] = _GROWING_PARTS) -> None:
        """Append items. The first one is joined to the last item so far if it continues it; `growing` holds the types
        of items that can be continued, each with the field that grows."""
        if items and self and _continues(self[-1], items[0], growing):
            self[-1] = _join_items(self[-1], items[0])
            items = items[1:]
        self.extend(items)


def build(value: Any) -> Any:
    """Return the plain JSON of a value that may hold builders."""
    if isinstance(value, TextBuilder):
        return str(value)
    if isinstance(value, ObjectBuilder):
        return {key: build(part) for key, part in value.items()}
    if isinstance(value, ListBuilder):
        return list(map(build, value))
    return value


def set_field(fields: Json, key: str, value: Any) -> None:
    """Set a field: a list is appended to the one so far, null and {} replace nothing, other values replace."""
    if isinstance(value, list):
        _list_builder(fields, key).extend_joining(value)
    elif key not in fields or _has_value(value):
        fields[key] = value


def _has_value(value: Any) -> bool:
    """Return whether a value replaces an earlier one; null and {} (Azure's last filter results) do not."""
    return value is not None and value != {}


def _append_text(fields: Json, key: str, value: Any) -> None:
    """Append to a string; a list of parts (Mistral's content) turns the string so far into a part."""
    known = fields.get(key)
    if key in ATOMIC_STRINGS:
        fields[key] = known or value
    elif isinstance(value, str) and isinstance(known, ListBuilder):
        known.extend_joining(_text_parts(value))
    elif isinstance(value, str):
        fields[key] = known if isinstance(known, TextBuilder) else TextBuilder()
        fields[key].append(value)
    elif isinstance(value, list) and isinstance(known, TextBuilder):
        fields[key] = ListBuilder(_text_parts(str(known)))
        fields[key].extend_joining(value)


def _text_parts(text: str) -> list[Any]:
    return [{"type": "text", "text": text}] if text else []


def _extend_lists(known: Any, part: Json) -> ObjectBuilder:
    """Append the lists of one object to those of the object so far."""
    fields = known if isinstance(known, ObjectBuilder) else ObjectBuilder()
    for key, value in part.items():
        set_field(fields, key, value)
    return fields


def _extend_texts(known: Any, fragment: Json) -> ObjectBuilder:
    """Append the strings of a function or of audio; arguments sent as an object become their text."""
    fields = known if isinstance(known, ObjectBuilder) else ObjectBuilder()
    for key, value in fragment.items():
        value = arguments_as_text(value) if key in ARGUMENTS else value
        if isinstance(value, str):
            _append_text(fields, key, value)
        else:
            set_field(fields, key, value)
    return fields


def _list_builder(fields: Json, key: str) -> ListBuilder:
    """Return the list of a field, a new one if it has none yet."""
    known = fields.get(key)
    builder = fields[key] = known if isinstance(known, ListBuilder) else ListBuilder()
    return builder


def _continues(last: Any, item: Any, growing: Mapping[str, str]) -> bool:
    """Return whether an item is a piece of the one before it: same type, index and id, and not closed."""
    if not isinstance(last, dict) or not isinstance(item, dict):
        return False
    kind = item.get("type")
    is_growing = isinstance(kind, str) and kind in growing and last.get("type") == kind
    return is_growing and not last.get("closed") and _agrees(last, item, "index") and _agrees(last, item, "id")


def _agrees(last: Json, item: Json, key: str) -> bool:
    value = item.get(key)
    return value is None or (isinstance(value, str | int) and value == last.get(key))


def _join_items(last: Json, item: Json) -> ObjectBuilder:
    fields = last if isinstance(last, ObjectBuilder) else _add_item(ObjectBuilder(), last)
    return _add_item(fields, item)


def _add_item(fields: ObjectBuilder, item: Json) -> ObjectBuilder:
    """Add one piece of a list item. Of lists in it, only the texts of a thought are joined."""
    grows = _GROWING_PARTS[item["type"]]
    for key, value in item.items():
        if isinstance(value, list):
            _list_builder(fields, key).extend_joining(value, _TEXT_PARTS if key == "thinking" else {})
        elif key == grows and isinstance(value, str):
            _append_text(fields, key, value)
        else:
            set_field(fields, key, value)
    return fields
