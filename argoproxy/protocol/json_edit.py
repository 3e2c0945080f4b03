"""Edit JSON text in place: every byte that need not change is kept, so order, blanks and the notation of numbers.

With `{"model":"a", "n":1.0}` as text, `{"model": "a", "n": 1.0}` as `before` and `{"model": "b", "n": 1.0, "x": 2}` as
`after`, the result is `{"model":"b", "n":1.0,"x":2}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from json import JSONDecoder
from json.decoder import scanstring  # type: ignore[attr-defined]
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import JsonError, dumps

_BLANK = re.compile(r"[ \t\n\r]*")
_decode = JSONDecoder().raw_decode

Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an object: its key, and the offsets where the key starts and the value starts and ends."""

    key: str
    start: int
    value: int
    end: int


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON. 1, 1.0 and true are different; values nested too deeply to compare
    too."""
    try:
        return _same(one, other)
    except RecursionError:
        return False


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def edit_json(text: bytes, before: Any, after: Any) -> bytes:
    """Return UTF-8 text with the value `before` edited so that its value is `after`. No object in it may have a key
    twice. Raises JsonError if `after` can't be written as JSON."""
    if _is_only_longer(before, after):
        return _append_members(text, {key: value for key, value in after.items() if key not in before})
    source = text.decode("utf-8", "surrogatepass")
    parts, at = [], 0
    try:
        for start, end, new in _edits(source, _skip(source, 0), before, after):
            parts += [source[at:start], new]
            at = end
    except RecursionError:
        raise JsonError("nested too deeply") from None
    return "".join([*parts, source[at:]]).encode("utf-8", "surrogatepass")


def _is_only_longer(before: Any, after: Any) -> bool:
    """Return whether an object is another one, which has members, with more behind them: what a request often
    becomes."""
    if not (type(before) is dict is type(after) and before and len(before) < len(after)):
        return False
    return all(map(is_, before, after)) and all(map(is_, before.values(), after.values()))


def _append_members(text: bytes, added: dict[str, Any]) -> bytes:
    """Return the text of an object with more members behind its last one."""
    last = text.rindex(b"}")
    while text[last - 1] in b" \t\n\r":
        last -= 1
    whole = memoryview(text)  # a conversation may be long: it is copied once
    return b"".join((whole[:last], b",", dumps(added)[1:-1], whole[last:]))


def _edits(source: str, at: int, before: Any, after: Any) -> Iterator[Edit]:
    if is_same_json(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _edits_of_members(source, at, before, after)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for start, old, new in zip(_items(source, at), before, after, strict=True):
            yield from _edits(source, start, old, new)
    else:
        yield at, _decode(source, at)[1], _encode(after)


def _edits_of_members(source: str, at: int, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Edit]:
    members = list(_members(source, at))
    kept = [member for member in members if member.key in after]
    added = [f"{_encode(key)}:{_encode(value)}" for key, value in after.items() if key not in before]
    last = kept[-1] if kept else None
    for member, following in zip_longest(members, members[1:]):
        if member.key in after:
            yield from _edits(source, member.value, before[member.key], after[member.key])
        elif following and last and member.start < last.start:
            yield member.start, following.start, ""
    tail = last.end if last else at + 1
    end = members[-1].end if members else tail
    if added or end > tail:
        yield tail, end, ",".join(["", *added] if last else added)


def _members(source: str, at: int) -> Iterator[_Member]:
    at = _skip(source, at + 1)
    while source[at] != "}":
        key, end = scanstring(source, at + 1)
        value = _skip(source, _skip(source, end) + 1)
        member = _Member(key, at, value, _decode(source, value)[1])
        yield member
        at = _next(source, member.end)


def _items(source: str, at: int) -> Iterator[int]:
    at = _skip(source, at + 1)
    while source[at] != "]":
        yield at
        at = _next(source, _decode(source, at)[1])


def _next(source: str, end: int) -> int:
    """Return the offset of what follows a value, behind the comma if there is one."""
    at = _skip(source, end)
    return _skip(source, at + 1) if source[at] == "," else at


def _skip(source: str, at: int) -> int:
    found = _BLANK.match(source, at)
    return found.end() if found else at


def _encode(value: Any) -> str:
    return dumps(value).decode()
