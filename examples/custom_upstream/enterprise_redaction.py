"""A filter that redacts answers; the result is the same for a document and for a stream, however that is cut.

At each position of the text the patterns are tried, in their order, on the next `longest` characters and the one
before; the first match is replaced, and the text continues after it. So a position is decided as soon as `longest`
characters from it have arrived, or the text has ended; later text changes nothing. Up to `longest` - 1 characters are
held back until the choice ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from argoproxy.api import Batch, Document, Event, Json, choice_index, is_done

LONGEST = 64
REDACTED = "[redacted]"

#: The texts of a choice: in an object of the choice, or (legacy completions) in the choice itself.
_TEXT_FIELDS = {
    "delta": ("content", "refusal", "reasoning_content", "reasoning"),
    "message": ("content", "refusal", "reasoning_content", "reasoning"),
    "": ("text",),
}
#: The fields that each chunk of a stream repeats.
_REPEATED = ("id", "object", "created", "model", "system_fingerprint")

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Redaction:
    """Patterns, and the highest number of characters of a match."""

    patterns: tuple[re.Pattern[str], ...]
    longest: int = LONGEST

    @classmethod
    def parse(cls, patterns: Any, longest: Any) -> Self:
        """Parse the options. Raises ValueError, TypeError."""
        if type(longest) is not int or longest < 1:
            raise ValueError("`longest` must be a number of characters")
        if not isinstance(patterns, list | tuple):
            raise TypeError("`redact` must be a list of regular expressions")
        return cls(tuple(_compile(pattern) for pattern in patterns), longest)

    def match(self, window: str, start: int) -> int:
        """Return the length of the first match at this position; 0 if there is none."""
        for pattern in self.patterns:
            if (match := pattern.match(window, start)) and match.end() > start:
                return match.end() - start
        return 0


class Text:
    """A text that arrives in pieces."""

    __slots__ = ("_before", "_held", "_redaction")

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = self._before = ""

    def feed(self, piece: str) -> str:
        """Take a piece and return what can be passed on."""
        self._held += piece
        return self._redact_positions(len(self._held) - self._redaction.longest + 1)

    def finish(self) -> str:
        """Return what was held back."""
        return self._redact_positions(len(self._held))

    def _redact_positions(self, places: int) -> str:
        """Redact matches that start in the next positions, so many, and return that text."""
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
    """A Filter that redacts the texts of every choice. `logprobs` hold the same text, so they become null; tool
    calls are not changed, because the client needs their arguments."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._texts: dict[int, dict[_Key, Text]] = {}
        self._repeated: Json = {}

    def feed(self, batch: Batch) -> Batch:
        """Redact a batch."""
        if not self._redaction.patterns:
            return batch
        changed = [one for event in batch for one in self._redact(event)]
        return batch if changed == batch else changed

    def finish(self) -> Batch:
        """Return what was held back of choices without an end."""
        held = []
        for index in sorted(self._texts):
            choice = {"index": index, "finish_reason": None}
            last = self._end(index, choice)
            if last != choice:
                held.append(Event.of({**self._repeated, "choices": [last]}))
        return held

    def _redact(self, event: Event) -> Batch:
        chunk = event.chunk
        if chunk is None:
            return [*self.finish(), event] if is_done(event) else [event]
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return [event]
        self._repeated = {name: chunk[name] for name in _REPEATED if name in chunk}
        changed = [
            self._redact_choice(choice_index(choice, place), choice, event) if isinstance(choice, dict) else choice
            for place, choice in enumerate(choices)
        ]
        return [event] if changed == choices else [type(event).of({**chunk, "choices": changed})]

    def _redact_choice(self, index: int, choice: Json, event: Event) -> Json:
        """Redact a choice; a document or a finish reason ends it."""
        choice = self._redact_choice_texts(index, choice)
        if choice.get("logprobs"):
            choice = {**choice, "logprobs": None}
        return self._end(index, choice) if isinstance(event, Document) or choice.get("finish_reason") else choice

    def _redact_choice_texts(self, index: int, choice: Json) -> Json:
        texts = self._texts.setdefault(index, {})
        for place, names in _TEXT_FIELDS.items():
            holder = _holder(choice, place)
            present = [name for name in names if isinstance(holder.get(name), str | list)]
            texts_now = {
                name: _feed(texts.setdefault((place, name), Text(self._redaction)), holder[name]) for name in present
            }
            choice = _with(choice, place, texts_now)
        return choice

    def _end(self, index: int, choice: Json) -> Json:
        """Return a choice with what was held back of it appended."""
        for (place, name), text in self._texts.pop(index, {}).items():
            if rest := text.finish():
                choice = _with(choice, place, {name: _longer(_holder(choice, place).get(name), rest)})
        return choice


def _feed(text: Text, content: Any) -> Any:
    """Redact a text, or the texts in a list of parts; other parts are not changed."""
    if isinstance(content, str):
        return text.feed(content)
    return [
        {**part, "text": text.feed(part["text"])}
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else part
        for part in content
    ]


def _longer(content: Any, rest: str) -> Any:
    """Append the rest to a text, or to a list of parts."""
    if isinstance(content, list):
        return [*content, {"type": "text", "text": rest}]
    return content + rest if isinstance(content, str) else rest


def _holder(choice: Json, place: str) -> Json:
    holder = choice.get(place) if place else choice
    return holder if isinstance(holder, dict) else {}


def _with(choice: Json, place: str, fields: Json) -> Json:
    """Return a choice with these fields set in it, or in its `place`; the same choice if there are none."""
    if not fields:
        return choice
    return {**choice, place: {**_holder(choice, place), **fields}} if place else {**choice, **fields}


def _compile(pattern: Any) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"`redact`: {pattern!r} is not a regular expression: {error}") from None
    if compiled.match(""):
        raise ValueError(f"`redact`: {pattern!r} matches the empty text")
    return compiled
