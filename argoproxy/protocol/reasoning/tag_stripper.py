"""Takes tagged blocks out of a text that comes in pieces, and the logprobs of what was taken with them.

Held back is only what could still become a tag: at most one character less than the tag has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import is_
from typing import Any, NamedTuple

from argoproxy.protocol.json_text import Json, as_dict
from argoproxy.protocol.reasoning.policy import TagPair

#: What JSON calls white space.
WHITE = " \t\r\n"


class Stripped(NamedTuple):
    """What one piece came to: the text that goes on, and where it stood in `held + piece`; `held` is the number of
    characters that were kept back before the piece, `size` that of all."""

    text: str
    kept: tuple[tuple[int, int], ...]
    held_from: int
    size: int
    held: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing was taken out."""
        return len(self.text) == self.held_from

    @property
    def is_untouched(self) -> bool:
        """Whether the piece goes on as it came, with nothing before it."""
        return self.is_whole and self.size - self.held_from == self.held and self.held in (0, self.size)


class Cut:
    """A text of which parts go on, piece by piece: what is held back of it, and what was seen in it.

    `has_lone_end` is set when a closing tag is shown before any opening one: the mark of a text that starts inside a
    thought. The tag may be split over pieces.
    """

    __slots__ = ("_end_begun", "_ends", "_held", "_inside", "_trimming", "has_lone_end", "visible")

    def __init__(self, ends: Sequence[str] = ()) -> None:
        """`ends` are the closing tags to watch for in what is shown; without them `has_lone_end` stays false."""
        self._held = self._end_begun = ""
        self._ends = ends
        self._inside = self._trimming = self.visible = self.has_lone_end = False

    @property
    def idle(self) -> bool:
        """Whether a piece without a start tag's first character would pass unchanged."""
        return not (self._inside or self._held or self._trimming or self._end_begun)

    @property
    def is_lost(self) -> bool:
        """Whether a piece without an end tag's first character would go without a trace."""
        return self._inside and not self._held

    def _watch_for_end(self, shown: str) -> None:
        """Look for a closing tag in a piece that is shown; the search ends with the first tag of either kind."""
        text = self._end_begun + shown
        self.has_lone_end = any(end in text for end in self._ends)
        begun = max(tail_of(text, 0, end) for end in self._ends)
        self._end_begun = text[len(text) - begun :]
        if self.has_lone_end:
            self._stop_watching()

    def _stop_watching(self) -> None:
        self._ends, self._end_begun = (), ""

    def _let_go(self, first: Stripped) -> Stripped:
        """Give the last piece with what is held back after it: it is no tag."""
        held, self._held = self._held, ""
        shown_from = len(held) if self._inside else self._shown_from(held, 0, len(held))
        if shown_from == len(held):
            return first._replace(held_from=first.size)
        span = (first.held_from + shown_from, first.size)
        return first._replace(text=first.text + held[shown_from:], kept=(*first.kept, span), held_from=first.size)

    def _shown_from(self, text: str, start: int, end: int) -> int:
        """Give where text[start:end] begins to be shown, past the white space to be trimmed."""
        if self._trimming or not self.visible:
            visible_from = end - len(text[start:end].lstrip(WHITE))
            self.visible = visible_from < end
            if self._trimming:
                self._trimming = not self.visible
                return visible_from
        return start


class Stripper(Cut):
    """Removes `start … end` blocks from one text. Tags match exactly, the first end closes, an end alone is text,
    a block that never ends is dropped. White space behind a block goes too while nothing visible came before."""

    __slots__ = ("_tags",)

    def __init__(self, tags: TagPair) -> None:
        super().__init__((tags.end,))
        self._tags = tags

    def feed(self, piece: str) -> Stripped:
        """Take a piece of the text."""
        if self.is_lost and self._tags.end[0] not in piece:
            return Stripped("", (), len(piece), len(piece), 0)
        held, text = len(self._held), self._held + piece
        kept, at = [], 0
        while True:
            tag = self._tags.end if self._inside else self._tags.start
            found = text.find(tag, at)
            end = found if found >= 0 else len(text) - tail_of(text, at, tag)
            if not self._inside and (start := self._shown_from(text, at, end)) < end:
                kept.append((start, end))
            if found < 0:
                break
            self._stop_watching()
            self._inside = not self._inside
            self._trimming = self._trimming or not (self._inside or self.visible)
            at = found + len(tag)
        self._held = text[end:]
        shown = "".join([text[a:b] for a, b in kept])
        if self._ends and shown:
            self._watch_for_end(shown)
        return Stripped(shown, tuple(kept), end, len(text), held)

    def feed_last(self, piece: str) -> Stripped:
        """Take the last piece: what is held back after it is no tag."""
        return self._let_go(self.feed(piece))


#: An entry of logprobs, None once it went out, and how many characters its token covers.
_Tile = tuple[Any, int]


class Tokens:
    """Follows one choice's logprobs: an entry stays when a character of its token does, and goes out with it.

    Sources: OpenAI API reference, `logprobs` of chat (`content`: a list of objects with `token`) and of legacy
    completions (parallel lists, `tokens` first). Tokens need not be their text's: half an emoji is spelled in escapes,
    thoughts in a field of their own and tool calls have tokens too.
    """

    __slots__ = ("_shape", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[_Tile] = []
        self._shape: Json = {}

    @property
    def waiting(self) -> bool:
        """Whether entries wait for text that is held back."""
        return bool(self._waiting)

    def follow(self, logprobs: Any, stripped: Stripped) -> Any:
        """Give the logprobs of the text that goes on, the very same ones when all of them stay; null where something
        was taken out of a text that its tokens do not tell."""
        if stripped.is_untouched:
            return logprobs
        came = _tiles(logprobs)
        tiles = (self._waiting or [(None, stripped.held)]) + came
        self._waiting = []
        if stripped.held + sum(size for _, size in came) == stripped.size:
            stay = self._staying(tiles, stripped)
        elif stripped.is_whole:
            stay = [entry for entry, _ in tiles if entry is not None]
        else:
            return None
        return logprobs if _are_the_same(stay, came) else _with_entries(self._shaped(logprobs), stay)

    def _staying(self, tiles: list[_Tile], stripped: Stripped) -> list[Any]:
        if not stripped.held_from and all(size for _, size in tiles[:1]):
            self._waiting = tiles
            return []
        shown = bytearray(stripped.size)
        for start, end in stripped.kept:
            shown[start:end] = b"\1" * (end - start)
        stay, at = [], 0
        for entry, size in tiles:
            start, at = at, at + size
            if entry is not None and 1 in shown[_span(start, size)]:
                stay.append(entry)
                entry = None
            if at > stripped.held_from:
                self._waiting.append((entry, at - max(start, stripped.held_from)))
        return stay

    def _shaped(self, logprobs: Any) -> Json:
        """Give logprobs to put entries in: those that came, blank ones of their shape where there are none."""
        told = as_dict(logprobs)
        self._shape |= dict.fromkeys(told)
        return {**self._shape, **told}


def tail_of(text: str, start: int, tag: str) -> int:
    """Give how many of the last characters of text[start:] could begin the tag."""
    longest = min(len(tag) - 1, len(text) - start)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)


def _tiles(logprobs: Any) -> list[_Tile]:
    """Give the entries with the lengths of their tokens."""
    told = as_dict(logprobs)
    if isinstance(content := told.get("content"), list):
        return [(entry, _length(entry.get("token"))) for entry in content if isinstance(entry, dict)]
    columns = _columns(told)
    tokens = columns.get("tokens", ())
    return [({key: columns[key][row] for key in columns}, _length(token)) for row, token in enumerate(tokens)]


def without_first(logprobs: Any, lost: int, left: int) -> Any:
    """Give the logprobs of a text that lost its first characters, whose tokens may or may not be told: null where the
    tokens fit neither what is left nor all of it."""
    tiles = _tiles(logprobs)
    size = sum(size for _, size in tiles)
    if not tiles or size == left:
        return logprobs
    if size != lost + left:
        return None
    ends = accumulate(size for _, size in tiles)
    return _with_entries(logprobs, [entry for (entry, _), end in zip(tiles, ends, strict=True) if end > lost])


def _are_the_same(entries: list[Any], tiles: list[_Tile]) -> bool:
    return len(entries) == len(tiles) and all(map(is_, entries, (entry for entry, _ in tiles)))


def _span(start: int, size: int) -> slice:
    """Give where a token stands; one without a character goes with its neighbours."""
    return slice(start, start + size) if size else slice(max(0, start - 1), start + 1)


def _length(token: Any) -> int:
    return len(token) if isinstance(token, str) else 0


def _with_entries(logprobs: Json, entries: list[Any]) -> Json:
    if "content" in logprobs:
        return {**logprobs, "content": entries}
    columns = _columns(logprobs).keys() | {key for row in entries for key in row}
    return {**logprobs, **{key: [row[key] for row in entries if key in row] for key in columns}}


def _columns(logprobs: Json) -> dict[str, list[Any]]:
    """Give the parallel lists of a legacy completion's logprobs."""
    tokens = logprobs.get("tokens")
    rows = len(tokens) if isinstance(tokens, list) else -1
    return {key: column for key, column in logprobs.items() if isinstance(column, list) and len(column) == rows}
