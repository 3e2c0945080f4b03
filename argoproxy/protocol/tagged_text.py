"""Takes tagged blocks out of a text that comes in pieces, and the logprobs of what was taken with them.

Held back is only what could still become a tag: at most one character less than the tag has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from argoproxy.protocol.chunks import Json

_WHITE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class TagPair:
    """What opens and what closes a thought."""

    start: str = "<think>"
    end: str = "</think>"


class Stripped(NamedTuple):
    """What one piece came to: the text that goes on, and where it stood in `held + piece`."""

    text: str
    kept: tuple[tuple[int, int], ...]
    held_from: int
    size: int


class Stripper:
    """Removes `start … end` blocks from one text. Tags match exactly, the first end closes, an end alone is text,
    a block that never ends is dropped. White space behind a block goes too while nothing visible came before."""

    __slots__ = ("_held", "_inside", "_tags", "_trimming", "visible")

    def __init__(self, tags: TagPair) -> None:
        self._tags = tags
        self._held = ""
        self._inside = self._trimming = self.visible = False

    @property
    def idle(self) -> bool:
        """Whether a piece without a start tag's first character would pass unchanged."""
        return not (self._inside or self._held or self._trimming)

    @property
    def is_lost(self) -> bool:
        """Whether a piece without an end tag's first character would go without a trace."""
        return self._inside and not self._held

    def feed(self, piece: str) -> Stripped:
        """Take a piece of the text."""
        if self.is_lost and self._tags.end[0] not in piece:
            return Stripped("", (), len(piece), len(piece))
        text = self._held + piece
        kept, at = [], 0
        while True:
            tag = self._tags.end if self._inside else self._tags.start
            found = text.find(tag, at)
            end = found if found >= 0 else len(text) - _tail_of(text, at, tag)
            if not self._inside and (start := self._shown_from(text, at, end)) < end:
                kept.append((start, end))
            if found < 0:
                break
            self._inside = not self._inside
            self._trimming = self._trimming or not (self._inside or self.visible)
            at = found + len(tag)
        self._held = text[end:]
        return Stripped("".join([text[a:b] for a, b in kept]), tuple(kept), end, len(text))

    def feed_last(self, piece: str) -> Stripped:
        """Take the last piece: what is held back after it is no tag."""
        first = self.feed(piece)
        held, self._held = self._held, ""
        shown_from = len(held) if self._inside else self._shown_from(held, 0, len(held))
        if shown_from == len(held):
            return first._replace(held_from=first.size)
        span = (first.held_from + shown_from, first.size)
        return Stripped(first.text + held[shown_from:], (*first.kept, span), first.size, first.size)

    def _shown_from(self, text: str, start: int, end: int) -> int:
        """Give where text[start:end] begins to be shown, past the white space to be trimmed."""
        if self._trimming or not self.visible:
            visible_from = end - len(text[start:end].lstrip(_WHITE))
            self.visible = visible_from < end
            if self._trimming:
                self._trimming = not self.visible
                return visible_from
        return start


class Tokens:
    """Follows one choice's logprobs: an entry stays when a character of its token does, and goes out with it.

    Sources: OpenAI API reference, `logprobs` of chat (`content`: a list of objects with `token`) and of legacy
    completions (parallel lists, `tokens` first).
    """

    __slots__ = ("_shape", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, int]] = []
        self._shape: Any = None

    @property
    def waiting(self) -> bool:
        """Whether entries wait for text that is held back."""
        return bool(self._waiting)

    def follow(self, logprobs: Any, stripped: Stripped) -> Any:
        """Give the logprobs of the text that stays; null where tokens and text do not match."""
        if not isinstance(logprobs, dict) and not self._waiting:
            return logprobs
        self._shape = logprobs or self._shape
        tiles, self._waiting = self._waiting + _entries(logprobs), []
        if sum(size for _, size in tiles) != stripped.size:
            return None
        stay, at = [], 0
        for entry, size in tiles:
            start, at = at, at + size
            if entry is not None and any(start < b and a < at for a, b in stripped.kept):
                stay.append(entry)
                entry = None
            if at > stripped.held_from:
                self._waiting.append((entry, at - max(start, stripped.held_from)))
        return _with_entries(self._shape, stay)


def _tail_of(text: str, start: int, tag: str) -> int:
    """Give how many of the last characters of text[start:] could begin the tag."""
    longest = min(len(tag) - 1, len(text) - start)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)


def _entries(logprobs: Any) -> list[tuple[Any, int]]:
    """Give the entries with the lengths of their tokens."""
    if not isinstance(logprobs, dict):
        return []
    if isinstance(content := logprobs.get("content"), list):
        return [(entry, _length(entry.get("token"))) for entry in content if isinstance(entry, dict)]
    columns = _columns(logprobs)
    tokens = columns.get("tokens", ())
    return [({key: columns[key][row] for key in columns}, _length(token)) for row, token in enumerate(tokens)]


def _length(token: Any) -> int:
    return len(token) if isinstance(token, str) else 0


def _with_entries(logprobs: Any, entries: list[Any]) -> Any:
    if "content" in logprobs:
        return {**logprobs, "content": entries}
    columns = _columns(logprobs)
    return {**logprobs, **{key: [row[key] for row in entries if key in row] for key in columns}}


def _columns(logprobs: Json) -> dict[str, list[Any]]:
    """Give the parallel lists of a legacy completion's logprobs."""
    tokens = logprobs.get("tokens")
    rows = len(tokens) if isinstance(tokens, list) else -1
    return {key: column for key, column in logprobs.items() if isinstance(column, list) and len(column) == rows}
