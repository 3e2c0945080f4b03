"""Removes the logprobs of text that was removed.

Sources: OpenAI API reference, `logprobs` of chat (`content`: a list of objects with `token`) and of legacy completions
(parallel lists, `tokens` first). Tokens need not spell their text: half of an emoji is written in escapes, and thoughts
in fields and tool calls have tokens too.
"""

from __future__ import annotations

from itertools import accumulate
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.reasoning.tags import ScanResult

#: An entry of logprobs, None once it was sent, and how many characters its token covers.
_Tile = tuple[Any, int]


class LogprobsFilter:
    """Follows the logprobs of one choice: an entry stays if a character of its token does, and is sent with the first
    one. Entries of text that is held back wait for it."""

    __slots__ = ("_shape", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[_Tile] = []
        self._shape: Json = {}

    @property
    def is_waiting(self) -> bool:
        """Whether entries wait for text that is held back."""
        return bool(self._waiting)

    def follow(self, logprobs: Any, result: ScanResult) -> Any:
        """Return the logprobs of the text that is sent: the same object if all of them stay, None if part of a text
        was removed that its tokens do not spell."""
        if result.is_unchanged:
            return logprobs
        arrived = _tiles(logprobs)
        tiles = (self._waiting or [(None, result.held)]) + arrived
        self._waiting = []
        if result.held + sum(size for _, size in arrived) == result.size:
            entries = self._visible_entries(tiles, result)
        elif result.is_whole:
            entries = [entry for entry, _ in tiles if entry is not None]
        else:
            return None
        is_same = len(entries) == len(arrived) and all(map(is_, entries, (entry for entry, _ in arrived)))
        return logprobs if is_same else _with_entries(self._shape_of(logprobs), entries)

    def _visible_entries(self, tiles: list[_Tile], result: ScanResult) -> list[Any]:
        if not result.held_from and all(size for _, size in tiles[:1]):
            self._waiting = tiles
            return []
        # One byte for each character, 1 where it is visible: linear in the text, however many spans and tokens.
        visible = bytearray(result.size)
        for start, end in result.spans:
            visible[start:end] = b"\1" * (end - start)
        entries, end = [], 0
        for entry, size in tiles:
            start, end = end, end + size
            if entry is not None and 1 in visible[_token_slice(start, size)]:
                entries.append(entry)
                entry = None
            if end > result.held_from:
                self._waiting.append((entry, end - max(start, result.held_from)))
        return entries

    def _shape_of(self, logprobs: Any) -> Json:
        """Return logprobs to put entries in: those that arrived, with every field seen so far, null if missing."""
        fields = as_dict(logprobs)
        self._shape |= dict.fromkeys(fields)
        return {**self._shape, **fields}


def drop_leading(logprobs: Any, lost: int, left: int) -> Any:
    """Return the logprobs of a text that lost its first `lost` characters and keeps `left`. Tokens may spell the whole
    text or what is left of it; None if they fit neither."""
    tiles = _tiles(logprobs)
    size = sum(size for _, size in tiles)
    if not tiles or size == left:
        return logprobs
    if size != lost + left:
        return None
    ends = accumulate(size for _, size in tiles)
    return _with_entries(logprobs, [entry for (entry, _), end in zip(tiles, ends, strict=True) if end > lost])


def _tiles(logprobs: Any) -> list[_Tile]:
    """Return the entries with the lengths of their tokens."""
    fields = as_dict(logprobs)
    if isinstance(content := fields.get("content"), list):
        return [(entry, len(as_text(entry.get("token")))) for entry in content if isinstance(entry, dict)]
    columns = _columns(fields)
    tokens = columns.get("tokens", ())
    return [({key: columns[key][row] for key in columns}, len(as_text(token))) for row, token in enumerate(tokens)]


def _token_slice(start: int, size: int) -> slice:
    """Return where a token stands; an empty one stays with its neighbours."""
    return slice(start, start + size) if size else slice(max(0, start - 1), start + 1)


def _with_entries(logprobs: Json, entries: list[Any]) -> Json:
    if "content" in logprobs:
        return {**logprobs, "content": entries}
    columns = _columns(logprobs).keys() | {key for row in entries for key in row}
    return {**logprobs, **{key: [row[key] for row in entries if key in row] for key in columns}}


def _columns(logprobs: Json) -> dict[str, list[Any]]:
    """Return the parallel lists of a legacy completion's logprobs."""
    tokens = logprobs.get("tokens")
    rows = len(tokens) if isinstance(tokens, list) else -1
    return {key: column for key, column in logprobs.items() if isinstance(column, list) and len(column) == rows}
