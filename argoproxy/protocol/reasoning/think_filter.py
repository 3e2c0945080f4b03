"""The think filter: takes `<think>…</think>` out of what the client sees, streamed or whole, in every choice.

Only text is looked at (`content` of chat, `text` of legacy completions), never tool arguments. An event that
can't change is passed on unparsed: it holds no first character of the start tag, nothing is open, held or to be
trimmed. An event that lost its text is sent only if something else is left in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import takewhile
from operator import is_

from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.reasoning.choice import Choice
from argoproxy.protocol.reasoning.policy import TagPair
from argoproxy.protocol.reasoning.tag_stripper import Stripper
from argoproxy.protocol.stream.chunks import choice_index, iterate_choices
from argoproxy.protocol.stream.sse import PLAIN_EVENT, Batch, Document, Event, is_done

_INDEX = re.compile(rb'"index"\s*:\s*(\d+)')
_OTHER_INDEX = re.compile(rb'"index"\s*:\s*(?!0\s*[,}])')
_FIRST = (b"0",)
#: What every chunk says, and what pads it.
_ORDINARY = frozenset("id object created model system_fingerprint service_tier choices obfuscation".split())
_FRAME = ("id", "object", "created", "model", "system_fingerprint")


class ThinkFilter:
    """A Filter that removes what stands between the tags of a pair."""

    def __init__(self, tags: TagPair, on_lone_end: Callable[[], None] | None = None) -> None:
        """Text is looked at closely until its choice has shown some; after that only where a tag may be.

        `on_lone_end` is called once when a closing tag is shown before any opening one.
        """
        self._tags = tags
        self._on_lone_end = on_lone_end
        self._start_marks = marks_of(tags.start[0])
        self._end_marks = marks_of(tags.end[0])
        self._choices: dict[int, Choice] = {}
        self._busy: set[int] = set()
        self._thinking: set[int] = set()
        self._visible: set[bytes] = set()
        self._familiar = set(_ORDINARY)
        self._frame: Json = {}

    def feed(self, batch: Batch) -> Batch:
        if not self._busy and not self._is_worth_a_look(b"".join([event.raw for event in batch])):
            return batch
        passed: Batch = []
        for event in batch:
            if not self._busy and not self._is_worth_a_look(event.raw):
                passed.append(event)
            elif not self._thinking or not self._is_only_a_thought(event.raw):
                passed += self._one(event)
        return batch if passed == batch else passed

    def finish(self) -> Batch:
        parts = [choice.rest(index) for index, choice in self._choices.items()]
        return [Event.of({**self._frame, "choices": [part]}) for part in parts if part]

    def _new_choice(self) -> Choice:
        return Choice(Stripper(self._tags))

    def _is_worth_a_look(self, raw: bytes) -> bool:
        literal, escape = self._start_marks
        return literal in raw or (b"\\" in raw and escape in raw) or self._may_be_first(raw)

    def _may_be_first(self, raw: bytes) -> bool:
        """Whether this may be the first text of a choice; one that names no index is taken for the first choice."""
        indexes = _INDEX.findall(raw) if _OTHER_INDEX.search(raw) else _FIRST
        return not self._visible.issuperset(indexes) and (b'"content"' in raw or b'"text"' in raw)

    def _is_only_a_thought(self, raw: bytes) -> bool:
        """Whether an event tells nothing but text of a choice that is thinking, and no end of it."""
        plain = PLAIN_EVENT.fullmatch(raw)
        if not plain or int(plain.group(1)) not in self._thinking:
            return False
        literal, escape = self._end_marks
        text = plain.group(2)
        return text != b"" and literal not in text and escape not in text

    def _one(self, event: Event) -> Batch:
        plain = PLAIN_EVENT.fullmatch(event.raw)
        choice = self._choices.get(int(plain.group(1))) if plain else None
        if plain and choice and not choice.awaits_tokens and (text := _unescaped(plain.group(2))) is not None:
            passed = _plain(event, text, choice)
            self._take_stock(int(plain.group(1)), choice)
            return passed
        return self._whole(event)

    def _whole(self, event: Event) -> Batch:
        """Strip an event of any shape."""
        chunk = event.chunk
        if chunk is None:
            return [*self.finish(), event] if is_done(event) else [event]
        parts = chunk.get("choices")
        if not isinstance(parts, list) or not parts:
            return [event]
        self._frame = {key: chunk[key] for key in _FRAME if key in chunk}
        changed = list(parts)
        for place, part in enumerate(parts):
            if isinstance(part, dict):
                changed[place] = self._part(choice_index(part, place), part, event)
        if all(map(is_, changed, parts)):
            return [event]
        new = {**chunk, "choices": changed}
        if isinstance(event, Document):
            return [Document.of(new)]
        return [Event.of(new)] if self._tells(new) else []

    def _part(self, index: int, part: Json, event: Event) -> Json:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = self._new_choice()
        is_last = isinstance(event, Document) or part.get("finish_reason")
        new = choice.strip_last(part) if is_last else choice.strip(part)
        self._take_stock(index, choice)
        return new

    def _take_stock(self, index: int, choice: Choice) -> None:
        """Remember what is to be looked for in a choice's events from now on."""
        for members, belongs in ((self._busy, not choice.idle), (self._thinking, choice.thinks_aloud)):
            (members.add if belongs else members.discard)(index)
        if choice.visible:
            self._visible.add(b"%d" % index)
        if choice.has_lone_end and self._on_lone_end:
            self._on_lone_end()
            self._on_lone_end = None

    def _tells(self, chunk: Json) -> bool:
        """Whether something is left: text, a finish reason, usage, a role or field not told before."""
        tells = bool(chunk.get("usage")) or any(chunk[key] for key in chunk if key not in self._familiar)
        for index, part in iterate_choices(chunk["choices"]):
            tells = self._choices[index].tells(part) or tells
        if tells:
            self._familiar.update(chunk)
        return tells


def _plain(event: Event, text: str, choice: Choice) -> Batch:
    """Strip an event that tells one choice's text and nothing else: most of them need no parsing."""
    said = choice.said_in(text)
    if said == {"content": text}:
        return [event]
    if not said:
        return []
    chunk = event.chunk or {}
    part = chunk["choices"][0]
    return [Event.of({**chunk, "choices": [{**part, "delta": said}]})]


def _unescaped(text: bytes) -> str | None:
    """Give the string behind its JSON text; None when it is broken."""
    if b"\\" not in text:
        return text.decode("utf-8", "replace")
    try:
        return str(loads(b'"' + text + b'"'))
    except JsonError:
        return None


def marks_of(first: str) -> tuple[bytes, bytes]:
    """Give the bytes without one of which JSON can't hold this character: itself, and what its escape begins with."""
    if first < " ":
        return (b"\\", b"\\")
    hexadecimal = format(ord(first), "04x")[:3] if ord(first) < 0x10000 else ""
    certain = "".join(takewhile(str.isdigit, hexadecimal))
    return (first.encode(), b"\\u" + certain.encode())
