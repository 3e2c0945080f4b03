"""What text filters are built of: finding tags, deciding whether a text starts inside a thought, collecting thoughts.

The tag that begins first counts, of two that begin at the same place the shorter one: so the result does not depend on
how a text is cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from argoproxy.protocol.reasoning.policy import TagPair

#: What JSON calls white space.
WHITESPACE = " \t\r\n"

#: The longest text that is held back, in characters, to find out whether it starts inside a thought: about a thousand
#: tokens, which a client waits for if the model does not think.
AUTO_DETECT_LIMIT = 4096


class TagMatcher:
    """Finds the first of several tags."""

    __slots__ = ("_first_characters", "_only_tag", "_pattern", "longest", "tags")

    def __init__(self, tags: Iterable[str]) -> None:
        self.tags = tuple(sorted(set(tags), key=len))
        self.longest = max(map(len, self.tags), default=0)
        self._first_characters = tuple({tag[0] for tag in self.tags})
        self._only_tag = self.tags[0] if len(self.tags) == 1 else ""
        self._pattern = re.compile("|".join(map(re.escape, self.tags)) or "(?!)")

    def may_begin_in(self, piece: str) -> bool:
        """Return whether a piece holds the first character of a tag."""
        for first in self._first_characters:  # noqa: SIM110 (a generator takes three times as long, for every piece)
            if first in piece:
                return True
        return False

    def find(self, text: str, start: int) -> tuple[int, str]:
        """Return where the next tag in text[start:] begins, and the tag. If there is none, return the place from which
        the text could be the beginning of one, or its end, and ""."""
        if self._only_tag:
            place = text.find(self._only_tag, start)
            if place >= 0:
                return place, self._only_tag
            return len(text) - partial_tag_length(text, start, self._only_tag), ""
        match = self._pattern.search(text, start)
        partial = max((partial_tag_length(text, start, tag) for tag in self.tags), default=0)
        if match and match.start() <= len(text) - partial:
            return match.start(), match.group()
        return len(text) - partial, ""

    def match_start(self, text: str) -> str | None:
        """Return the tag at the start of a text, "" if there is none, None while it could become one."""
        if match := self._pattern.match(text):
            return match.group()
        return None if any(tag.startswith(text) for tag in self.tags) else ""


def partial_tag_length(text: str, start: int, tag: str) -> int:
    """Return how many characters at the end of text[start:] could be the beginning of the tag."""
    place = text.find(tag[0], max(start, len(text) - len(tag) + 1))
    while place >= 0 and not tag.startswith(text[place:]):
        place = text.find(tag[0], place + 1)
    return len(text) - place if place >= 0 else 0


class TagSet:
    """The pairs of tags of a model. Pairs may share an opening tag: any of their closing tags closes it then."""

    __slots__ = ("closing", "closing_of", "every", "opening")

    def __init__(self, pairs: Sequence[TagPair]) -> None:
        self.opening = TagMatcher(pair.start for pair in pairs)
        self.closing = TagMatcher(pair.end for pair in pairs)
        self.every = TagMatcher(tag for pair in pairs for tag in (pair.start, pair.end))
        self.closing_of = {
            pair.start: TagMatcher(one.end for one in pairs if one.start == pair.start) for pair in pairs
        }


class Start(Enum):
    """What a text starts with."""

    UNKNOWN = "unknown"
    TEXT = "text"
    THOUGHT = "thought"


class StartVerdict(NamedTuple):
    """What a text starts with. `skip` characters before that are dropped; `tag` is the opening tag before a thought.
    While the start is unknown, the rest of the text is held back."""

    start: Start
    skip: int = 0
    tag: str = ""


class StartDetector(Protocol):
    """Decides what a text starts with. `fallback` is the answer if the text ends before it is known."""

    fallback: Start

    def judge(self, text: str, known: int) -> StartVerdict:
        """Judge the text so far; its first `known` characters did not decide it."""


class StartsInside:
    """The text starts inside a thought; an opening tag that is sent nevertheless is dropped."""

    fallback = Start.THOUGHT

    def __init__(self, tags: TagSet) -> None:
        self._opening = tags.opening

    def judge(self, text: str, known: int) -> StartVerdict:
        skip = len(text) - len(text.lstrip(WHITESPACE))
        tag = self._opening.match_start(text[skip : skip + self._opening.longest])
        if tag is None or skip == len(text):
            return StartVerdict(Start.UNKNOWN, skip)
        return StartVerdict(Start.THOUGHT, skip + len(tag), tag)


class AutoDetect:
    """The text starts inside a thought if its first tag is a closing one, within AUTO_DETECT_LIMIT."""

    fallback = Start.TEXT

    def __init__(self, tags: TagSet) -> None:
        self._tags = tags

    def judge(self, text: str, known: int) -> StartVerdict:
        place, tag = self._tags.every.find(text, max(0, known - self._tags.every.longest))
        if place >= AUTO_DETECT_LIMIT or tag in self._tags.closing_of:
            return StartVerdict(Start.TEXT)
        return StartVerdict(Start.THOUGHT if tag else Start.UNKNOWN)


class ScanResult(NamedTuple):
    """What became of one piece: `text` is visible, `spans` is where it stood in `held + piece`. The part from
    `held_from` is held back now; `held` characters had been held back before the piece; `size` counts both."""

    text: str
    spans: tuple[tuple[int, int], ...]
    held_from: int
    size: int
    held: int

    @classmethod
    def of_whole(cls, text: str) -> ScanResult:
        """Return the result of a text that passes whole."""
        return cls(text, (), len(text), len(text), 0)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was removed."""
        return len(self.text) == self.held_from

    @property
    def is_unchanged(self) -> bool:
        """Whether the piece passes as it came, with nothing before it."""
        return self.is_whole and self.size - self.held_from == self.held and self.held in (0, self.size)


class ThoughtBuffer:
    """Collects the thoughts of one choice. White space before a thought is dropped; a blank line separates it from the
    thought before it."""

    __slots__ = ("_at_start", "_has_earlier", "_pieces")

    def __init__(self) -> None:
        self._at_start = True
        self._has_earlier = False
        self._pieces: list[str] = []

    def begin_thought(self) -> None:
        """Begin another thought."""
        self._at_start = True

    def mark_earlier(self) -> None:
        """Note that the client got an earlier thought, from elsewhere."""
        self._has_earlier = True

    def append(self, text: str) -> None:
        """Add text to the thought."""
        if self._at_start:
            text = text.lstrip(WHITESPACE)
            if text and self._has_earlier:
                self._pieces.append("\n\n")
        if text:
            self._at_start, self._has_earlier = False, True
            self._pieces.append(text)

    def take(self) -> str:
        """Return what was added since the last call."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text
