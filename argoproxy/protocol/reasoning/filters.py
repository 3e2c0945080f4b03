"""What becomes of a model's thoughts: the policies, and the filters that carry them out, streamed or whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from argoproxy.protocol.reasoning.choice import Choice
from argoproxy.protocol.reasoning.fields import FIELD_MARKS
from argoproxy.protocol.reasoning.policies import InField, InTags, Thoughtless, Untagged
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.tag_scanner import Beginning, InDoubt, InsideThought, Notes, Scanner, Tags
from argoproxy.protocol.reasoning.tag_writer import Tagger
from argoproxy.protocol.reasoning.think_filter import ThinkFilter, marks_of
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import PLAIN_EVENT

_CALL_MARKS = (b'"tool_calls"', b'"function_call"')
_CHOICE = re.compile(rb'"choices":\[\{"index":(\d{1,9})')


def reasoning_filters(settings: ReasoningSettings, on_lone_end: Callable[[], None] | None = None) -> Sequence[Filter]:
    """Return the filters that carry out the settings. `on_lone_end` is called where a text, taken to start outside of
    a thought, shows a closing tag before any opening one."""
    if settings.policy is Reasoning.KEEP or not (settings.policy or settings.tags):
        return ()
    if settings.policy is None and settings.opening is Opening.CLOSED and len(settings.tags) == 1:
        return (ThinkFilter(settings.tags[0], on_lone_end),)
    return (ReasoningFilter(settings, on_lone_end),)


class ReasoningFilter(ThinkFilter):
    """A Filter that does with thoughts what the settings say. As in the plain ThinkFilter, an event that can't change
    is passed on unparsed."""

    def __init__(self, settings: ReasoningSettings, on_lone_end: Callable[[], None] | None = None) -> None:
        super().__init__(_first(settings.tags), on_lone_end)
        is_tagging, is_closed = settings.policy is Reasoning.TAGS, settings.opening is Opening.CLOSED
        self._all_start_marks = {marks_of(pair.start[0]) for pair in settings.tags if not is_tagging}
        self._all_end_marks = {marks_of(pair.end[0]) for pair in settings.tags}
        self._field_marks = () if settings.policy is None and is_closed else FIELD_MARKS
        self._calls_count = not is_closed and settings.policy is not None
        self._make = _maker(settings)

    def _new_choice(self) -> Choice:
        return self._make()

    def _is_worth_a_look(self, raw: bytes) -> bool:
        for literal, escape in self._all_start_marks:
            if literal in raw or (b"\\" in raw and escape in raw):
                return True
        for mark in self._field_marks:
            if mark in raw:
                return True
        return self._may_be_first(raw)

    def _may_be_first(self, raw: bytes) -> bool:
        return super()._may_be_first(raw) or (self._calls_count and self._may_call_first(raw))

    def _may_call_first(self, raw: bytes) -> bool:
        """Whether this may be a tool call before the first text of a choice, which shows that nothing is thought."""
        if not any(mark in raw for mark in _CALL_MARKS):
            return False
        found = _CHOICE.search(raw)
        return found is None or int(found.group(1)) not in self._choices

    def _is_only_a_thought(self, raw: bytes) -> bool:
        plain = PLAIN_EVENT.fullmatch(raw)
        if not plain or int(plain.group(1)) not in self._thinking:
            return False
        text = plain.group(2)
        return text != b"" and not any(literal in text or escape in text for literal, escape in self._all_end_marks)


def _maker(settings: ReasoningSettings) -> Callable[[], Choice]:
    """Give what makes a choice as the policy wants it."""
    tags = Tags(settings.tags)
    beginnings: dict[Opening, Beginning] = {Opening.OPEN: InsideThought(tags), Opening.AUTO: InDoubt(tags)}
    beginning = beginnings.get(settings.opening) if settings.tags else None

    def in_field() -> Choice:
        notes = Notes()
        return InField(Scanner(tags, beginning, notes), notes, settings.field)

    makers: dict[Reasoning | None, Callable[[], Choice]] = {
        None: lambda: Untagged(Scanner(tags, beginning)),
        Reasoning.STRIP: lambda: Thoughtless(Scanner(tags, beginning)),
        Reasoning.FIELD: in_field,
        Reasoning.TAGS: lambda: InTags(Tagger(_first(settings.tags), beginning)),
    }
    return makers[settings.policy]


def _first(tags: Sequence[TagPair]) -> TagPair:
    return tags[0] if tags else TagPair()
