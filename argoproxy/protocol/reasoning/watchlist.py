"""What the think filter looks for in the bytes of events: only events that may hold it are parsed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings
from argoproxy.protocol.reasoning.thought_fields import FIELD_MARKS

#: How to recognise in JSON that a text may hold a tag: its first character or the start of that character's escape, and
#: the bytes one of which follows the character then; none if any byte may.
Mark = tuple[bytes, bytes, frozenset[bytes]]

#: After the first character of a tag: the end of the text, or an escaped character.
_END_OR_ESCAPE = (b'"', b"\\")


@dataclass(frozen=True, slots=True)
class Watchlist:
    """What to look for in events: only those that hold it are parsed, once their choices have shown text."""

    #: Marks of opening tags.
    opening: tuple[Mark, ...]
    #: Marks of closing tags: in a thought that is dropped, only they count.
    closing: tuple[Mark, ...]
    #: Marks of thoughts in fields.
    fields: tuple[bytes, ...]
    #: Whether a tool call before the first text of a choice counts: it shows that the text starts outside a thought.
    calls: bool


def watchlist_of(settings: ReasoningSettings) -> Watchlist:
    is_closed = settings.opening is Opening.CLOSED
    opening = () if settings.policy is Reasoning.TAGS else settings.tags
    every = [tag for pair in settings.tags for tag in (pair.start, pair.end)]
    return Watchlist(
        # A closing tag that shows alone is to be seen too, where it begins like an opening one.
        _marks_of((pair.start for pair in opening), every),
        _marks_of((pair.end for pair in settings.tags), every),
        () if settings.policy is None and is_closed else FIELD_MARKS,
        settings.policy is not None and not is_closed,
    )


def find_mark(raw: bytes, start: int, marks: Iterable[Mark]) -> int:
    """Return where the first of some marks may stand in JSON, its length if none does."""
    place = len(raw)
    for literal, escape, followers in marks:
        found = raw.find(literal, start, place)
        while found >= 0:
            after = found + len(literal)
            if not followers or raw[after : after + 1] in followers:
                place = found
                break
            found = raw.find(literal, after, place)
        if raw.find(b"\\", start, place) >= 0 and (found := raw.find(escape, start, place)) >= 0:
            place = found
    return place


def _marks_of(tags: Iterable[str], every: Iterable[str]) -> tuple[Mark, ...]:
    return tuple({_mark_of(tag[0], [other[1:2] for other in every if other[0] == tag[0]]) for tag in tags})


def _mark_of(character: str, seconds: Iterable[str]) -> Mark:
    """Return how to recognise a character in JSON, which one of `seconds` follows in each tag. The bytes may also stand
    for other characters: a match only means that the event is parsed."""
    if character < " ":
        return (b"\\", b"\\", frozenset())
    hexadecimal = format(ord(character), "04x")[:3] if ord(character) < 0x10000 else ""
    # Letters of an escape may be in upper or lower case: only the digits before the first letter are certain.
    certain = "".join(takewhile(str.isdigit, hexadecimal))
    followers = frozenset((*(second.encode()[:1] for second in seconds), *_END_OR_ESCAPE)) if all(seconds) else ()
    return (character.encode(), b"\\u" + certain.encode(), frozenset(followers))
