"""Values put together of pieces: strings spelled out, lists lengthened, objects filled; in time linear in the pieces.

What stands here while it grows is ours and made plain by `settled` at the end; what an upstream sent is never edited
and stays as it came, however deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import encode_json

#: Strings that are said once, not spelled out over several deltas; servers that repeat them mean the same.
SAID_ONCE = frozenset(("role", "name", "id", "type"))

#: What a function or a custom tool is given: text, whatever is written in it.
ARGUMENTS = frozenset(("arguments", "input"))

#: So many pieces of a string are kept before they are joined: more would take many times the room of their letters.
PIECES = 1024

_TEXTS = {"text": "text"}
#: Kinds of parts that go on in the next delta, and the field that grows: Mistral's content, OpenRouter's
#: reasoning_details.
_GROWING = {**_TEXTS, "thinking": "thinking", "reasoning.text": "text", "reasoning.summary": "summary"}


class Fields(dict[str, Any]):
    """An object of ours, still being put together."""


class Text:
    """A string still being spelled."""

    __slots__ = ("_blocks", "_pieces")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Go on with it."""
        self._pieces.append(piece)
        if len(self._pieces) == PIECES:
            self._blocks.append("".join(self._pieces))
            self._pieces.clear()

    def __str__(self) -> str:
        return "".join([*self._blocks, *self._pieces])


class Joined(list[Any]):
    """A list of ours, to be lengthened in place."""

    def go_on(self, parts: list[Any], growing: Mapping[str, str] = _GROWING) -> None:
        """Lengthen it; a first part that goes on with the last one becomes part of it, if its kind is a growing one."""
        if parts and self and _goes_on(self[-1], parts[0], growing):
            self[-1] = _grown(self[-1], parts[0])
            parts = parts[1:]
        self.extend(parts)


def say(fields: Json, key: str, value: Any) -> None:
    """Go on with a string; parts (Mistral's content is a list of them) go on as parts."""
    known = fields.get(key)
    if key in SAID_ONCE:
        fields[key] = known or value
    elif isinstance(value, str) and isinstance(known, Joined):
        known.go_on(_parts(value))
    elif isinstance(value, str):
        fields[key] = known if isinstance(known, Text) else Text()
        fields[key].add(value)
    elif isinstance(value, list) and isinstance(known, Text):
        fields[key] = Joined(_parts(str(known)))
        fields[key].go_on(value)


def put(fields: Json, key: str, value: Any) -> None:
    """Put a field in: lists go on, what says nothing replaces nothing, everything else counts as said anew."""
    known = fields.get(key)
    if isinstance(value, list):
        fields[key] = known if isinstance(known, Joined) else Joined()
        fields[key].go_on(value)
    elif key not in fields or says(value):
        fields[key] = value


def says(value: Any) -> bool:
    """Tell whether a value says anything: null does not, nor an empty object (Azure's last filter results)."""
    return value is not None and value != {}


def merged(known: Any, part: Json) -> Fields:
    """Lengthen the lists of one object by those of another."""
    fields = known if isinstance(known, Fields) else Fields()
    for key, value in part.items():
        put(fields, key, value)
    return fields


def spelled(known: Any, fragment: Json) -> Fields:
    """Go on with the strings of a function or of audio; arguments that came as an object become their text."""
    fields = known if isinstance(known, Fields) else Fields()
    for key, value in fragment.items():
        value = arguments_as_text(value) if key in ARGUMENTS else value
        if isinstance(value, str):
            say(fields, key, value)
        else:
            put(fields, key, value)
    return fields


def arguments_as_text(arguments: Any) -> Any:
    """Give the arguments of a function as text, where they came as an object. Raises UpstreamProtocolError."""
    return encode_json(arguments).decode() if isinstance(arguments, dict | list) else arguments


def settled(value: Any) -> Any:
    """Give what was put together as plain JSON."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Fields):
        return {key: settled(part) for key, part in value.items()}
    if isinstance(value, Joined):
        return list(map(settled, value))
    return value


def _parts(text: str) -> list[Any]:
    return [{"type": "text", "text": text}] if text else []


def _goes_on(last: Any, part: Any, growing: Mapping[str, str]) -> bool:
    """Tell whether a part is a piece of the one before it: of the same kind and place, which is not closed."""
    if not isinstance(last, dict) or not isinstance(part, dict):
        return False
    kind = part.get("type")
    is_growing = isinstance(kind, str) and kind in growing and last.get("type") == kind
    return is_growing and not last.get("closed") and _agrees(last, part, "index") and _agrees(last, part, "id")


def _agrees(last: Json, part: Json, key: str) -> bool:
    value = part.get(key)
    return value is None or (isinstance(value, str | int) and value == last.get(key))


def _grown(last: Json, part: Json) -> Fields:
    fields = last if isinstance(last, Fields) else _filled(Fields(), last)
    return _filled(fields, part)


def _filled(fields: Fields, part: Json) -> Fields:
    """Fill in a piece of a part; of what is in it, only the texts of a thought grow."""
    grows = _GROWING[part["type"]]
    for key, value in part.items():
        if isinstance(value, list):
            known = fields.get(key)
            fields[key] = known if isinstance(known, Joined) else Joined()
            fields[key].go_on(value, _TEXTS if key == "thinking" else {})
        elif key == grows and isinstance(value, str):
            say(fields, key, value)
        else:
            put(fields, key, value)
    return fields
