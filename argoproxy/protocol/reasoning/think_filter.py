"""The think filter: removes or moves a model's thoughts, streamed or whole, in every choice.

Only text is scanned (`content` of chat, `text` of legacy completions), and fields if the policy wants it, never tool
arguments. Most events cannot change and pass unparsed, as the same objects: those without the first character of an
opening tag, if no choice holds anything back or has a thought open. An event that lost its text is sent only if
something else is left in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import is_

from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.reasoning.choice_filter import ChoiceFilter
from argoproxy.protocol.reasoning.watchlist import Watchlist, find_mark
from argoproxy.protocol.stream.chunks import choice_index, iterate_choices
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import (
    Batch,
    Document,
    Event,
    PlainEvent,
    PlainEventReader,
    encode_json,
    is_done,
    is_plain,
)

_INDEX = re.compile(rb'"index"\s*:\s*(\d+)')
_OTHER_INDEX = re.compile(rb'"index"\s*:\s*(?!0\s*[,}])')
_NO_TEXT = b'"content":""'
_CALL_MARKS = (b'"tool_calls"', b'"function_call"')
_FIRST_CHOICE = re.compile(rb'"choices":\[\{"index":(\d{1,9})')
#: Fields that every chunk has, and padding.
_COMMON_FIELDS = frozenset("id object created model system_fingerprint service_tier choices obfuscation".split())
#: Fields of a chunk that the filter adds.
_FRAME = ("id", "object", "created", "model", "system_fingerprint")


class ThinkFilter:
    """A Filter that gives each choice to a ChoiceFilter of its own, but only events that may matter to it."""

    takes_runs = True

    def __init__(
        self,
        new_filter: Callable[[], ChoiceFilter],
        watchlist: Watchlist,
        on_lone_end: Callable[[], None] | None = None,
    ) -> None:
        self._new_filter = new_filter
        self._opening_marks, self._closing_marks = watchlist.opening, watchlist.closing
        self._field_marks, self._watches_calls = watchlist.fields, watchlist.calls
        self._on_lone_end = on_lone_end
        self._plain_events = PlainEventReader()
        self._choices: dict[int, ChoiceFilter] = {}
        #: Indexes of choices that may change any text, of those that drop all text without a closing tag, and (as
        #: bytes) of those that have shown text: from then on only opening tags matter.
        self._busy: set[int] = set()
        self._discarding: set[int] = set()
        self._past_start: set[bytes] = set()
        self._known_fields = set(_COMMON_FIELDS)
        self._frame: Json = {}

    def feed(self, batch: Batch) -> Batch:
        if len(batch) == 1:
            event = batch[0]
            if isinstance(event, TextRun):
                if self._next_that_matters(event.raw, 0) == len(event.raw):
                    return [] if self._busy else batch
            elif isinstance(event, Document) and self._has_no_tag(event.raw):
                return batch
        passed: Batch = []
        for event in batch:
            if isinstance(event, TextRun):
                self._feed_run(event, passed)
            else:
                self._feed_event(event, passed)
        return batch if passed == batch else passed

    def _feed_event(self, event: Event, passed: Batch) -> None:
        if not self._busy and not self._may_matter(event.raw):
            passed.append(event)
        elif not self._discarding or not self._is_discarded(event.raw):
            passed += self._filter_event(event)

    def _feed_run(self, run: TextRun, passed: Batch) -> None:
        """Filter a run; only events that may matter are cut out of it."""
        raw, start, end = run.raw, 0, len(run.raw)
        while start < end:
            stop = self._next_that_matters(raw, start)
            if stop == start:
                stop = raw.find(b"\n\n", start) + 2
                self._feed_event(Event(raw[start:stop]), passed)
            elif not self._busy:
                passed.append(run if stop - start == end else TextRun(raw[start:stop]))
            start = stop

    def _next_that_matters(self, raw: bytes, start: int) -> int:
        """Return where the next event of a run begins that may matter, its length if there is none. Text before that
        passes, or is dropped while its choice drops all text."""
        if not self._busy:
            if b"0" not in self._past_start:
                return start
            place = find_mark(raw, start, self._opening_marks)
        elif 0 in self._discarding:
            place = find_mark(raw, start, self._closing_marks)
            empty = raw.find(_NO_TEXT, start, place)
            place = place if empty < 0 else empty
        else:
            return start
        if place == len(raw):
            return place
        # Line ends in JSON are escaped, so these end the event before.
        end = raw.rfind(b"\n\n", start, place)
        return start if end < 0 else end + 2

    def _has_no_tag(self, raw: bytes) -> bool:
        """Return whether a whole document holds nothing that the filter looks for."""
        return not self._field_marks and find_mark(raw, 0, self._opening_marks + self._closing_marks) == len(raw)

    def finish(self) -> Batch:
        parts = [choice.finish(index) for index, choice in self._choices.items()]
        return [Event.of({**self._frame, "choices": [part]}) for part in parts if part]

    def _may_matter(self, raw: bytes) -> bool:
        """Return whether an event may change or be changed, while no choice is busy."""
        if find_mark(raw, 0, self._opening_marks) < len(raw):
            return True
        for mark in self._field_marks:
            if mark in raw:
                return True
        return self._may_be_first_text(raw) or (self._watches_calls and self._may_be_first_call(raw))

    def _may_be_first_text(self, raw: bytes) -> bool:
        """Return whether this may be the first text of a choice; an event without an index counts for choice 0."""
        if _OTHER_INDEX.search(raw):
            is_past_start = self._past_start.issuperset(_INDEX.findall(raw))
        else:
            is_past_start = b"0" in self._past_start
        return not is_past_start and (b'"content"' in raw or b'"text"' in raw)

    def _may_be_first_call(self, raw: bytes) -> bool:
        """Return whether this may be a tool call before the first text of a choice."""
        if not any(mark in raw for mark in _CALL_MARKS):
            return False
        match = _FIRST_CHOICE.search(raw)
        return match is None or int(match.group(1)) not in self._choices

    def _is_discarded(self, raw: bytes) -> bool:
        """Return whether an event holds nothing but text of a choice that drops it."""
        plain = self._plain_events.read(raw)
        if not plain or plain.choice not in self._discarding or plain.start == plain.end:
            return False
        # Of the bytes after the text, none is such a mark, but its end tells whether a tag may begin there.
        return find_mark(raw, plain.start, self._closing_marks) >= plain.end

    def _filter_event(self, event: Event) -> Batch:
        plain = self._plain_events.read(event.raw)
        if not plain:
            return self._filter_any_event(event)
        choice = self._choices.get(plain.choice)
        if not choice or choice.awaits_logprobs or (text := _decode(event.raw[plain.start : plain.end])) is None:
            return self._filter_any_event(event)
        passed = _filter_plain_event(event, plain, text, choice)
        self._update_sets(plain.choice, choice)
        return passed

    def _filter_any_event(self, event: Event) -> Batch:
        chunk = event.chunk
        if chunk is None:
            return [*self.finish(), event] if is_done(event) else [event]
        parts = chunk.get("choices")
        if not isinstance(parts, list) or not parts:
            return [event]
        self._frame = {key: chunk[key] for key in _FRAME if key in chunk}
        new_parts = list(parts)
        for position, part in enumerate(parts):
            if isinstance(part, dict):
                new_parts[position] = self._filter_part(choice_index(part, position), part, event)
        if all(map(is_, new_parts, parts)):
            return [event]
        new = {**chunk, "choices": new_parts}
        if isinstance(event, Document):
            return [Document.of(new)]
        return [Event.of(new)] if self._is_worth_sending(new) else []

    def _filter_part(self, index: int, part: Json, event: Event) -> Json:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = self._new_filter()
        is_last = isinstance(event, Document) or part.get("finish_reason")
        new = choice.filter_last_part(part) if is_last else choice.filter_part(part)
        self._update_sets(index, choice)
        return new

    def _update_sets(self, index: int, choice: ChoiceFilter) -> None:
        """Note which events matter to a choice from now on."""
        text = choice.text
        is_discarding = text.is_discarding and not choice.awaits_logprobs
        for members, belongs in ((self._busy, not text.is_idle), (self._discarding, is_discarding)):
            (members.add if belongs else members.discard)(index)
        if text.is_past_start:
            self._past_start.add(b"%d" % index)
        if text.has_lone_end and self._on_lone_end:
            self._on_lone_end()
            self._on_lone_end = None

    def _is_worth_sending(self, chunk: Json) -> bool:
        """Return whether a chunk still holds text, a finish reason, usage, or a role or field not sent before."""
        is_worth = bool(chunk.get("usage")) or any(chunk[key] for key in chunk if key not in self._known_fields)
        for index, part in iterate_choices(chunk["choices"]):
            is_worth = self._choices[index].is_worth_sending(part) or is_worth
        if is_worth:
            self._known_fields.update(chunk)
        return is_worth


def _filter_plain_event(event: Event, plain: PlainEvent, text: str, choice: ChoiceFilter) -> Batch:
    """Filter an event with the text of one choice and nothing else; parse it only if more than its text changes."""
    delta = choice.filter_delta(text)
    if delta == {"content": text}:
        return [event]
    if not delta:
        return []
    if delta.keys() == {"content"} and is_plain(event):
        new_text = encode_json(delta["content"])[1:-1]
        return [Event(event.raw[: plain.start] + new_text + event.raw[plain.end :])]
    chunk = event.chunk or {}
    part = chunk["choices"][0]
    return [Event.of({**chunk, "choices": [{**part, "delta": delta}]})]


def _decode(text: bytes) -> str | None:
    """Return the string of a JSON string's inside, None if it is invalid."""
    if b"\\" not in text:
        return text.decode("utf-8", "replace")
    try:
        return str(loads(b'"' + text + b'"'))
    except JsonError:
        return None
