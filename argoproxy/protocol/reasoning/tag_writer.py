"""Puts thoughts into the text of a choice, between tags, for clients that know nothing else."""

from __future__ import annotations

from typing import Any

from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tag_scanner import Beginning, Start
from argoproxy.protocol.reasoning.tag_stripper import WHITE, Stripped, Tokens

#: What stands between a thought and the text behind it, as models write it that tag their thoughts themselves.
_BLANK_LINE = "\n\n"


class Tagger:
    """A Cutter that cuts nothing: it puts a pair of tags around what is thought, and the opening tag before a text that
    starts inside a thought. A block is closed before the next text, tool call or end; a blank line parts it from the
    text behind it, unless that begins with a line end."""

    __slots__ = ("_beginning", "_has_gap", "_held", "_is_open", "_queued", "_tags")

    is_lost = False
    has_lone_end = False

    def __init__(self, tags: TagPair, beginning: Beginning | None = None) -> None:
        self._tags = tags
        self._beginning = beginning
        self._held = self._queued = ""
        self._is_open = self._has_gap = False

    @property
    def idle(self) -> bool:
        """Whether a piece would pass unchanged."""
        return not (self._held or self._is_open or self._has_gap)

    @property
    def visible(self) -> bool:
        """Whether it is known what the text starts with."""
        return self._beginning is None

    def think(self, thought: str) -> None:
        """Take a piece of a thought; it goes out with the next piece of the text, and be that an empty one."""
        start = "" if self._is_open else self._gap("") + self._tags.start
        self._queued += start + thought
        self._is_open = True

    def feed(self, piece: str) -> Stripped:
        """Take a piece of the text."""
        return self._with_queued(self._said(self._begun(piece)))

    def feed_last(self, piece: str) -> Stripped:
        """Take the last piece; what is held back after it is no tag."""
        text = self._begun(piece)
        if self._beginning and self._held:
            starts_inside = self._beginning.otherwise is Start.THOUGHT
            text += self._tags.start + self._held if starts_inside else self._held
        self._beginning, self._held = None, ""
        return self._with_queued(self._said(text) + self._end())

    def answers(self) -> None:
        """Know that a thought was told elsewhere, so that the text does not start inside one."""
        self._beginning = None

    def close(self) -> None:
        """Know that something else was said than text; the last piece before it was taken as the last."""

    def _begun(self, piece: str) -> str:
        """Give the text that may go on, with the opening tag where it is missing."""
        text, known = self._held + piece, len(self._held)
        self._held = ""
        if not self._beginning:
            return text
        verdict = self._beginning.judge(text, known)
        if verdict.start is Start.UNKNOWN:
            self._held = text[verdict.at :]
            return text[: verdict.at]
        self._beginning = None
        if verdict.start is Start.TEXT or verdict.tag:
            return text
        thought = text.lstrip(WHITE)
        return text[: len(text) - len(thought)] + self._tags.start + thought

    def _said(self, text: str) -> str:
        return self._end() + self._gap(text) + text if text else ""

    def _end(self) -> str:
        if not self._is_open:
            return ""
        self._is_open, self._has_gap = False, True
        return self._tags.end

    def _gap(self, text: str) -> str:
        gap = _BLANK_LINE if self._has_gap and not text.startswith("\n") else ""
        self._has_gap = False
        return gap

    def _with_queued(self, text: str) -> Stripped:
        queued, self._queued = self._queued, ""
        return Stripped(queued + text, (), 0, 0, 0)


class AnyTokens(Tokens):
    """Logprobs that stay as they came, because text was added of which nobody has tokens."""

    def follow(self, logprobs: Any, stripped: Stripped) -> Any:
        return logprobs
