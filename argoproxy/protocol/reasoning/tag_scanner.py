"""Separates thoughts from visible text, in a text that arrives in pieces.

Only what could still become a tag is held back: at most one character less than the longest tag has.
"""

from __future__ import annotations

from typing import NamedTuple

from argoproxy.protocol.reasoning.tags import (
    WHITESPACE,
    Start,
    StartDetector,
    StartVerdict,
    TagSet,
    partial_tag_length,
)


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


class TagScanner:
    """Removes the thoughts from one text. Tags match exactly. The first closing tag ends a thought, a closing tag alone
    is text, a thought that is never closed reaches to the end. White space after a thought is dropped too while nothing
    visible came before it.

    `has_lone_end` is set when a closing tag is visible before any opening one: the sign of a text that starts inside a
    thought without the settings saying so.
    """

    __slots__ = (
        "_buffer",
        "_detector",
        "_held",
        "_inside",
        "_lone_end_part",
        "_lone_ends",
        "_tags",
        "_trimming",
        "_wanted",
        "has_lone_end",
        "is_past_start",
    )

    def __init__(
        self, tags: TagSet, detector: StartDetector | None = None, buffer: ThoughtBuffer | None = None
    ) -> None:
        """Without a detector the text starts outside of a thought; without a buffer thoughts are dropped."""
        self._tags = tags
        self._detector = detector
        self._buffer = buffer
        self._inside = detector is not None and detector.fallback is Start.THOUGHT
        self._wanted = tags.closing if self._inside else tags.opening
        #: The end of the piece that may still become a tag.
        self._held = ""
        #: Whether white space is dropped until visible text comes.
        self._trimming = False
        #: Closing tags to look for in visible text, none once a tag was found; and what of one was visible last.
        self._lone_ends = () if detector else tags.closing.tags
        self._lone_end_part = ""
        self.has_lone_end = False
        #: Whether visible text has come: from then on, only tags can change the text.
        self.is_past_start = False

    @property
    def is_idle(self) -> bool:
        """Whether a piece without the first character of an opening tag would pass unchanged."""
        return not (self._inside or self._held or self._trimming or self._lone_end_part)

    @property
    def is_discarding(self) -> bool:
        """Whether a piece without the first character of a closing tag would be dropped without a trace."""
        return self._inside and not (self._held or self._detector or self._buffer)

    def feed(self, piece: str) -> ScanResult:
        """Take a piece of the text."""
        if self.is_discarding and not self._wanted.may_begin_in(piece):
            return ScanResult("", (), len(piece), len(piece), 0)
        held, text, start = len(self._held), self._held + piece, 0
        if self._detector:
            verdict = self._detector.judge(text, held)
            start = verdict.skip
            if verdict.start is Start.UNKNOWN:
                self._held = text[start:]
                return ScanResult("", (), start, len(text), held)
            self._settle_start(verdict)
        spans, held_from = self._scan(text, start)
        self._held = text[held_from:]
        return ScanResult("".join([text[a:b] for a, b in spans]), tuple(spans), held_from, len(text), held)

    def feed_last(self, piece: str) -> ScanResult:
        """Take the last piece: what is held back after it is not a tag."""
        result = self.feed(piece)
        held, self._held, self._detector = self._held, "", None
        visible_from = len(held)
        if self._inside:
            self._keep_thought(held)
        else:
            visible_from = self._visible_from(held, 0, len(held))
        if visible_from == len(held):
            return result._replace(held_from=result.size)
        span = (result.held_from + visible_from, result.size)
        return ScanResult(
            result.text + held[visible_from:], (*result.spans, span), result.size, result.size, result.held
        )

    def start_outside(self) -> None:
        """Note that a thought came in a field: the endpoint parses tags, so the text starts outside of a thought."""
        self._stop_looking_for_lone_end()
        if self._detector:
            self._settle_start(StartVerdict(Start.TEXT))

    def end_thought(self) -> None:
        """End a thought that is open: something else than text followed. Nothing may be held back."""
        if self._inside:
            self._cross_tag("")

    def _scan(self, text: str, start: int) -> tuple[list[tuple[int, int]], int]:
        """Return the visible spans of text[start:], and from where it is to be held back."""
        spans = []
        while True:
            end, tag = self._wanted.find(text, start)
            if self._inside:
                self._keep_thought(text[start:end])
            elif (visible_from := self._visible_from(text, start, end)) < end:
                spans.append((visible_from, end))
                if self._lone_ends:
                    self._look_for_lone_end(text[visible_from:end])
            if not tag:
                return spans, end
            self._cross_tag(tag)
            start = end + len(tag)

    def _settle_start(self, verdict: StartVerdict) -> None:
        self._detector = None
        self._inside = verdict.start is Start.THOUGHT
        if self._inside:
            self._wanted = self._tags.closing_of.get(verdict.tag, self._tags.closing)
        else:
            self._wanted = self._tags.opening

    def _cross_tag(self, tag: str) -> None:
        """Go on behind a tag: inside a thought or outside of it."""
        self._stop_looking_for_lone_end()
        self._inside = not self._inside
        if self._inside:
            self._wanted = self._tags.closing_of[tag]
            if self._buffer:
                self._buffer.begin_thought()
        else:
            self._wanted = self._tags.opening
            self._trimming = self._trimming or not self.is_past_start

    def _keep_thought(self, text: str) -> None:
        if self._buffer:
            self._buffer.append(text)

    def _visible_from(self, text: str, start: int, end: int) -> int:
        """Return where text[start:end] becomes visible, behind white space that is to be dropped."""
        if self._trimming or not self.is_past_start:
            visible_from = end - len(text[start:end].lstrip(WHITESPACE))
            self.is_past_start = visible_from < end
            if self._trimming:
                self._trimming = not self.is_past_start
                return visible_from
        return start

    def _look_for_lone_end(self, visible: str) -> None:
        """Look for a closing tag in visible text; it may have begun in an earlier piece."""
        text = self._lone_end_part + visible
        self.has_lone_end = any(tag in text for tag in self._lone_ends)
        partial = max(partial_tag_length(text, 0, tag) for tag in self._lone_ends)
        self._lone_end_part = text[len(text) - partial :]
        if self.has_lone_end:
            self._stop_looking_for_lone_end()

    def _stop_looking_for_lone_end(self) -> None:
        self._lone_ends, self._lone_end_part = (), ""
