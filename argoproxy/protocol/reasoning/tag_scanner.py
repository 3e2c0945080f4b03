"""Tells thoughts from words in a text that comes in pieces: between several pairs of tags, and in a text that starts
inside a thought because the template of the model has swallowed the opening tag.

The tag that begins first counts, of two that begin alike the shorter one: so any cut of a text gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tag_stripper import WHITE, Cut, Stripped, tail_of

#: So many characters are held back at most while nobody can know whether a text starts inside a thought: about a
#: thousand tokens, which a client of a model that does not think waits for.
LONGEST_DOUBT = 4096


class Sought:
    """Tags that are looked for at once."""

    __slots__ = ("_firsts", "_pattern", "longest", "tags")

    def __init__(self, tags: Iterable[str]) -> None:
        self.tags = sorted(set(tags), key=len)
        self._firsts = {tag[0] for tag in self.tags}
        self._pattern = re.compile("|".join(map(re.escape, self.tags)) or "(?!)")
        self.longest = max(map(len, self.tags), default=0)

    def may_be_in(self, piece: str) -> bool:
        """Tell whether the first character of a tag is in a piece."""
        return any(first in piece for first in self._firsts)

    def find(self, text: str, start: int) -> tuple[int, str]:
        """Give where in text[start:] the next tag begins, and which; where one could begin that is not whole yet, or
        the end of the text, and ""."""
        found = self._pattern.search(text, start)
        if found and len(self.tags) == 1:
            return found.start(), found.group()
        begun = len(text) - max((tail_of(text, start, tag) for tag in self.tags), default=0)
        return (found.start(), found.group()) if found and found.start() <= begun else (begun, "")

    def begins(self, text: str) -> str | None:
        """Give the tag that a text begins with, "" for none; None while it could be one."""
        if found := self._pattern.match(text):
            return found.group()
        return None if any(tag.startswith(text) for tag in self.tags) else ""


class Tags:
    """The pairs of tags of a model. Where pairs share a start, the end of any of them closes it."""

    __slots__ = ("both", "ends", "ends_of", "starts")

    def __init__(self, pairs: Sequence[TagPair]) -> None:
        self.starts = Sought(pair.start for pair in pairs)
        self.ends = Sought(pair.end for pair in pairs)
        self.both = Sought(tag for pair in pairs for tag in (pair.start, pair.end))
        self.ends_of = {pair.start: Sought(one.end for one in pairs if one.start == pair.start) for pair in pairs}


class Start(Enum):
    """What a text starts with."""

    UNKNOWN = "unknown"
    TEXT = "text"
    THOUGHT = "thought"


class Verdict(NamedTuple):
    """What a text starts with, and where: what stands before that is no part of it. `tag` is the opening tag that was
    told before a thought. While nobody can know, what follows is held back."""

    start: Start
    at: int = 0
    tag: str = ""


class Beginning(Protocol):
    """How to tell what a text starts with; `otherwise` counts when it ends before that is known."""

    otherwise: Start

    def judge(self, text: str, known: int) -> Verdict:
        """Judge a text as far as it has come; its first `known` characters have left it unknown."""


class InsideThought:
    """The text starts inside a thought; an opening tag that is told nevertheless is no part of it."""

    otherwise = Start.THOUGHT

    def __init__(self, tags: Tags) -> None:
        self._starts = tags.starts

    def judge(self, text: str, known: int) -> Verdict:
        at = len(text) - len(text.lstrip(WHITE))
        tag = self._starts.begins(text[at : at + self._starts.longest])
        if tag is None or at == len(text):
            return Verdict(Start.UNKNOWN, at)
        return Verdict(Start.THOUGHT, at + len(tag), tag)


class InDoubt:
    """The text starts inside a thought if a closing tag comes before an opening one, and before LONGEST_DOUBT."""

    otherwise = Start.TEXT

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    def judge(self, text: str, known: int) -> Verdict:
        found, tag = self._tags.both.find(text, max(0, known - self._tags.both.longest))
        if found >= LONGEST_DOUBT or tag in self._tags.ends_of:
            return Verdict(Start.TEXT)
        return Verdict(Start.THOUGHT if tag else Start.UNKNOWN)


class Notes:
    """The thoughts of one choice, one after the other: white space before one goes, a blank line parts it from what
    was thought before."""

    __slots__ = ("_at_start", "_has_begun", "_pieces")

    def __init__(self) -> None:
        self._at_start = True
        self._has_begun = False
        self._pieces: list[str] = []

    def begin(self) -> None:
        """Begin another thought."""
        self._at_start = True

    def follow(self) -> None:
        """Know that something was thought before."""
        self._has_begun = True

    def add(self, text: str) -> None:
        """Go on with the thought."""
        if self._at_start:
            text = text.lstrip(WHITE)
            if text and self._has_begun:
                self._pieces.append("\n\n")
        if text:
            self._at_start, self._has_begun = False, True
            self._pieces.append(text)

    def taken(self) -> str:
        """Give what was noted since the last time."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


class Scanner(Cut):
    """Takes thoughts out of one text by the rules of the Stripper; what was thought is noted where it is wanted."""

    __slots__ = ("_beginning", "_notes", "_sought", "_tags")

    def __init__(self, tags: Tags, beginning: Beginning | None = None, notes: Notes | None = None) -> None:
        super().__init__(() if beginning else tags.ends.tags)
        self._tags = tags
        self._beginning = beginning
        self._notes = notes
        self._inside = beginning is not None and beginning.otherwise is Start.THOUGHT
        self._sought = tags.ends if self._inside else tags.starts

    @property
    def is_lost(self) -> bool:
        return self._inside and not (self._held or self._beginning or self._notes)

    def feed(self, piece: str) -> Stripped:
        """Take a piece of the text."""
        if self.is_lost and not self._sought.may_be_in(piece):
            return Stripped("", (), len(piece), len(piece), 0)
        held, text, at = len(self._held), self._held + piece, 0
        if self._beginning:
            verdict = self._beginning.judge(text, held)
            at = verdict.at
            if verdict.start is Start.UNKNOWN:
                self._held = text[at:]
                return Stripped("", (), at, len(text), held)
            self._begin(verdict)
        kept = []
        while True:
            end, tag = self._sought.find(text, at)
            if self._inside:
                self._note(text[at:end])
            elif (start := self._shown_from(text, at, end)) < end:
                kept.append((start, end))
            if not tag:
                break
            self._turn(tag)
            at = end + len(tag)
        self._held = text[end:]
        shown = "".join([text[a:b] for a, b in kept])
        if self._ends and shown:
            self._watch_for_end(shown)
        return Stripped(shown, tuple(kept), end, len(text), held)

    def feed_last(self, piece: str) -> Stripped:
        """Take the last piece: what is held back after it is no tag."""
        first = self.feed(piece)
        self._beginning = None
        if self._inside:
            self._note(self._held)
        return self._let_go(first)

    def answers(self) -> None:
        """Know that a thought was told elsewhere, so that the text does not start inside one."""
        self._stop_watching()
        if self._beginning:
            self._begin(Verdict(Start.TEXT))

    def close(self) -> None:
        """Know that something else was said than text, which ends a thought; nothing may be held back."""
        if self._inside:
            self._turn("")

    def _begin(self, verdict: Verdict) -> None:
        self._beginning = None
        self._inside = verdict.start is Start.THOUGHT
        if self._inside:
            self._sought = self._tags.ends_of.get(verdict.tag, self._tags.ends)
        else:
            self._sought = self._tags.starts

    def _turn(self, tag: str) -> None:
        self._stop_watching()
        self._inside = not self._inside
        self._trimming = self._trimming or not (self._inside or self.visible)
        self._sought = self._tags.ends_of[tag] if self._inside else self._tags.starts
        if self._inside and self._notes:
            self._notes.begin()

    def _note(self, text: str) -> None:
        if self._notes:
            self._notes.add(text)
