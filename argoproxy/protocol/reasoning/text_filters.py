"""The filters of a text that arrives in pieces: TagScanner removes thoughts from it, TagWriter writes them into it.

Only what could still become a tag is held back: at most one character less than the longest tag has.
"""

from __future__ import annotations

from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tags import (
    WHITESPACE,
    ScanResult,
    Start,
    StartDetector,
    StartVerdict,
    TagSet,
    ThoughtBuffer,
    partial_tag_length,
)

#: What separates a thought from the text after it, as models write it that tag their thoughts themselves.
_BLANK_LINE = "\n\n"
#: What becomes of an empty piece while nothing is held back.
_NOTHING = ScanResult.of_whole("")


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
        if not piece and not self._held:
            return _NOTHING
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
        if not held:
            return result
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
        text, partial = self._lone_end_part + visible, 0
        for tag in self._lone_ends:
            if tag in text:
                self.has_lone_end = True
                self._stop_looking_for_lone_end()
                return
            partial = max(partial, partial_tag_length(text, 0, tag))
        self._lone_end_part = text[len(text) - partial :]

    def _stop_looking_for_lone_end(self) -> None:
        self._lone_ends, self._lone_end_part = (), ""


class TagWriter:
    """Adds a pair of tags around thoughts, and the opening tag before a text that starts inside one; removes nothing.

    A thought is closed before the next text, the next tool call or the end. A blank line separates it from text that
    does not begin with a line end itself.
    """

    __slots__ = ("_detector", "_has_gap", "_held", "_is_open", "_queued", "_tags")

    is_discarding = False
    has_lone_end = False

    def __init__(self, tags: TagPair, detector: StartDetector | None = None) -> None:
        """Without a detector the text starts outside of a thought."""
        self._tags = tags
        self._detector = detector
        self._held = self._queued = ""
        self._is_open = self._has_gap = False

    @property
    def is_idle(self) -> bool:
        """Whether a piece would pass unchanged."""
        return not (self._held or self._is_open or self._has_gap)

    @property
    def is_past_start(self) -> bool:
        """Whether it is known what the text starts with."""
        return self._detector is None

    def add_thought(self, thought: str) -> None:
        """Take a piece of a thought; it is sent with the next piece of text, which may be empty."""
        start = "" if self._is_open else self._take_gap("") + self._tags.start
        self._queued += start + thought
        self._is_open = True

    def feed(self, piece: str) -> ScanResult:
        """Take a piece of the text."""
        return self._after_queued(self._after_thought(self._with_opening_tag(piece)))

    def feed_last(self, piece: str) -> ScanResult:
        """Take the last piece: what is held back after it is not a tag."""
        text = self._with_opening_tag(piece)
        if self._detector and self._held:
            starts_inside = self._detector.fallback is Start.THOUGHT
            text += self._tags.start + self._held if starts_inside else self._held
        self._detector, self._held = None, ""
        return self._after_queued(self._after_thought(text) + self._close())

    def start_outside(self) -> None:
        """Note that a thought came in a field, so the text starts outside of one."""
        self._detector = None

    def end_thought(self) -> None:
        """Do nothing: the last piece before a tool call was fed as the last one, which closes the thought."""

    def _with_opening_tag(self, piece: str) -> str:
        """Return the text that may be sent, with the opening tag where it is missing."""
        text, known = self._held + piece, len(self._held)
        self._held = ""
        if not self._detector:
            return text
        verdict = self._detector.judge(text, known)
        if verdict.start is Start.UNKNOWN:
            self._held = text[verdict.skip :]
            return text[: verdict.skip]
        self._detector = None
        if verdict.start is Start.TEXT or verdict.tag:
            return text
        thought = text.lstrip(WHITESPACE)
        return text[: len(text) - len(thought)] + self._tags.start + thought

    def _after_thought(self, text: str) -> str:
        return self._close() + self._take_gap(text) + text if text else ""

    def _close(self) -> str:
        if not self._is_open:
            return ""
        self._is_open, self._has_gap = False, True
        return self._tags.end

    def _take_gap(self, text: str) -> str:
        gap = _BLANK_LINE if self._has_gap and not text.startswith("\n") else ""
        self._has_gap = False
        return gap

    def _after_queued(self, text: str) -> ScanResult:
        # Logprobs stay as they came: there are none for the text that is added here.
        queued, self._queued = self._queued, ""
        return ScanResult.of_whole(queued + text)
