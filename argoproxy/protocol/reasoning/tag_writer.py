"""Writes thoughts into the text of a choice, between tags, for clients that read nothing else."""

from __future__ import annotations

from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tag_scanner import ScanResult
from argoproxy.protocol.reasoning.tags import WHITESPACE, Start, StartDetector

#: What separates a thought from the text after it, as models write it that tag their thoughts themselves.
_BLANK_LINE = "\n\n"


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
