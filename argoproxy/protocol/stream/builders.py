"""Builders: strings, lists and objects that grow while chunks are joined, in time and memory linear in their size.

`build` turns them into plain JSON at the end. Values from the upstream are never edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.chunks import ATOMIC_STRINGS
from argoproxy.protocol.stream.tool_calls import ARGUMENTS, arguments_as_text

#: Pieces of a string are joined when there are this many: a list of short strings takes many times the
#: memory of its text.
MAX_PIECES = 1024

_TEXT_PARTS = {"text": "text"}
#: Types of list items that continue in the next delta, and the field that grows: Mistral's content, OpenRouter's
#: reasoning_details.
_GROWING_PARTS = {**_TEXT_PARTS, "thinking": "thinking", "reasoning.text": "text", "reasoning.summary": "summary"}


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
    elif key not in fields or has_value(value):
        fields[key] = value


def has_value(value: Any) -> bool:
    """Return whether a value replaces an earlier one; null and {} (Azure's last filter results) do not."""
    return value is not None and value != {}


def append_text(fields: Json, key: str, value: Any) -> None:
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


def extend_lists(known: Any, part: Json) -> ObjectBuilder:
    """Append the lists of one object to those of the object so far."""
    fields = known if isinstance(known, ObjectBuilder) else ObjectBuilder()
    for key, value in part.items():
        set_field(fields, key, value)
    return fields


def extend_texts(known: Any, fragment: Json) -> ObjectBuilder:
    """Append the strings of a function or of audio; arguments sent as an object become their text."""
    fields = known if isinstance(known, ObjectBuilder) else ObjectBuilder()
    for key, value in fragment.items():
        value = arguments_as_text(value) if key in ARGUMENTS else value
        if isinstance(value, str):
            append_text(fields, key, value)
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
            append_text(fields, key, value)
        else:
            set_field(fields, key, value)
    return fields
