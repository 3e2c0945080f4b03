"""Redaction of what a client sees: a filter that is the same for a stream, however it is cut, and for a document.

What is redacted is decided character by character: at each place the patterns are tried, in their order, on the
`longest` characters from there on and the one before; the first that matches is replaced, and the text goes on
behind it. So a place is decided as soon as `longest` characters from it have come, or the text has ended, and what
comes later changes nothing. That many characters, less one, are held back until the choice ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from argoproxy.api import Batch, Document, Event, Json, choice_index, is_done

LONGEST = 64
REDACTED = "[redacted]"

#: Where a choice tells its texts: in an object of it, or (legacy completions) by itself.
_PLACES = {
    "delta": ("content", "refusal", "reasoning_content", "reasoning"),
    "message": ("content", "refusal", "reasoning_content", "reasoning"),
    "": ("text",),
}
#: What each chunk of a stream says again.
_FRAME = ("id", "object", "created", "model", "system_fingerprint")

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is redacted: patterns, and how many characters a match may have."""

    patterns: tuple[re.Pattern[str], ...]
    longest: int = LONGEST

    @classmethod
    def parse(cls, patterns: Any, longest: Any) -> Self:
        """Read what the file says. Raises ValueError, TypeError with what is wrong."""
        if type(longest) is not int or longest < 1:
            raise ValueError("`longest` is no number of characters")
        if not isinstance(patterns, list | tuple):
            raise TypeError("`redact` is no list of regular expressions")
        return cls(tuple(_compiled(pattern) for pattern in patterns), longest)

    def match(self, window: str, start: int) -> int:
        """Give how many characters the first pattern that matches here covers; 0 where none does."""
        for pattern in self.patterns:
            if (found := pattern.match(window, start)) and found.end() > start:
                return found.end() - start
        return 0


class Text:
    """One text that comes in pieces."""

    __slots__ = ("_before", "_held", "_redaction")

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = self._before = ""

    def feed(self, piece: str) -> str:
        """Take a piece, give what is decided."""
        self._held += piece
        return self._decided(len(self._held) - self._redaction.longest + 1)

    def finish(self) -> str:
        """Take the end of the text, give what was held back."""
        return self._decided(len(self._held))

    def _decided(self, places: int) -> str:
        """Redact what begins in this many places."""
        text, start = self._before + self._held, len(self._before)
        longest, match = self._redaction.longest, self._redaction.match
        at, kept_from, kept = start, start, []
        while at < start + places:
            before = min(at, 1)
            size = match(text[at - before : at + longest], before)
            if size:
                kept += [text[kept_from:at], REDACTED]
                kept_from = at + size
            at += size or 1
        kept.append(text[kept_from:at])
        self._before, self._held = text[max(0, at - 1) : at], text[at:]
        return "".join(kept)


class RedactionFilter:
    """A Filter that redacts the texts of every choice. Tokens tell the same text, so `logprobs` become null; tool
    calls stay as they are, because whoever calls the tool needs them."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._texts: dict[int, dict[_Key, Text]] = {}
        self._frame: Json = {}

    def feed(self, batch: Batch) -> Batch:
        """Redact a batch."""
        if not self._redaction.patterns:
            return batch
        passed = [one for event in batch for one in self._redacted(event)]
        return batch if passed == batch else passed

    def finish(self) -> Batch:
        """Give what was held back of choices that never ended."""
        held = []
        for index in sorted(self._texts):
            choice = {"index": index, "finish_reason": None}
            ended = self._ended(index, choice)
            if ended != choice:
                held.append(Event.of({**self._frame, "choices": [ended]}))
        return held

    def _redacted(self, event: Event) -> Batch:
        chunk = event.chunk
        if chunk is None:
            return [*self.finish(), event] if is_done(event) else [event]
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return [event]
        self._frame = {name: chunk[name] for name in _FRAME if name in chunk}
        changed = [
            self._choice(choice_index(choice, place), choice, event) if isinstance(choice, dict) else choice
            for place, choice in enumerate(choices)
        ]
        return [event] if changed == choices else [type(event).of({**chunk, "choices": changed})]

    def _choice(self, index: int, choice: Json, event: Event) -> Json:
        """Redact what an event tells of a choice; a document, or a finish reason, ends it."""
        choice = self._fed(index, choice)
        if choice.get("logprobs"):
            choice = {**choice, "logprobs": None}
        return self._ended(index, choice) if isinstance(event, Document) or choice.get("finish_reason") else choice

    def _fed(self, index: int, choice: Json) -> Json:
        texts = self._texts.setdefault(index, {})
        for place, names in _PLACES.items():
            holder = _holder(choice, place)
            told = [name for name in names if isinstance(holder.get(name), str | list)]
            said = {name: _feed(texts.setdefault((place, name), Text(self._redaction)), holder[name]) for name in told}
            choice = _with(choice, place, said)
        return choice

    def _ended(self, index: int, choice: Json) -> Json:
        """Give a choice that also tells what was held back of it."""
        for (place, name), text in self._texts.pop(index, {}).items():
            if rest := text.finish():
                choice = _with(choice, place, {name: _longer(_holder(choice, place).get(name), rest)})
        return choice


def _feed(text: Text, said: Any) -> Any:
    """Redact a text, or the text in a list of parts; parts of another kind stay."""
    if isinstance(said, str):
        return text.feed(said)
    return [
        {**part, "text": text.feed(part["text"])}
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else part
        for part in said
    ]


def _longer(said: Any, rest: str) -> Any:
    """Let a text, or a list of parts, go on with what was held back."""
    if isinstance(said, list):
        return [*said, {"type": "text", "text": rest}]
    return said + rest if isinstance(said, str) else rest


def _holder(choice: Json, place: str) -> Json:
    holder = choice.get(place) if place else choice
    return holder if isinstance(holder, dict) else {}


def _with(choice: Json, place: str, fields: Json) -> Json:
    """Give a choice with other fields in a place of it; the very same one where there are none."""
    if not fields:
        return choice
    return {**choice, place: {**_holder(choice, place), **fields}} if place else {**choice, **fields}


def _compiled(pattern: Any) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"`redact`: {pattern!r} is no regular expression: {error}") from None
    if compiled.match(""):
        raise ValueError(f"`redact`: {pattern!r} matches nothing at all, everywhere")
    return compiled
