"""What carries out the settings for a model's thoughts: which parts the filter of each choice is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from argoproxy.protocol.reasoning.choice_filter import (
    ChoiceFilter,
    FieldsIntoText,
    FieldTarget,
    LeaveFields,
    RemoveFields,
)
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.tags import AutoDetect, StartDetector, StartsInside, TagSet, ThoughtBuffer
from argoproxy.protocol.reasoning.text_filters import TagScanner, TagWriter
from argoproxy.protocol.reasoning.think_filter import ThinkFilter
from argoproxy.protocol.reasoning.watchlist import Watchlist, watchlist_of
from argoproxy.protocol.stream.filters import Filter


def reasoning_filters(settings: ReasoningSettings, on_lone_end: Callable[[], None] | None = None) -> Sequence[Filter]:
    """Return the filters that carry out the settings: one or none. `on_lone_end` is called once if a text that is
    taken to start outside of a thought shows a closing tag before any opening one."""
    if settings.policy is Reasoning.KEEP or not (settings.policy or settings.tags):
        return ()
    new_filter, watchlist = _plan(settings)
    return (ThinkFilter(new_filter, watchlist, on_lone_end),)


@lru_cache(maxsize=256)
def _plan(settings: ReasoningSettings) -> tuple[Callable[[], ChoiceFilter], Watchlist]:
    """Return what the filters of all requests with these settings have in common."""
    return _filter_factory(settings), watchlist_of(settings)


def _filter_factory(settings: ReasoningSettings) -> Callable[[], ChoiceFilter]:
    """Return a function that makes the filter of a choice for the policy."""
    tags = TagSet(settings.tags)
    detectors: dict[Opening, StartDetector] = {Opening.OPEN: StartsInside(tags), Opening.AUTO: AutoDetect(tags)}
    detector = detectors.get(settings.opening) if settings.tags else None

    def leave_fields() -> ChoiceFilter:
        # Thoughts in fields matter only if it has to be found out whether the text starts inside a thought.
        return ChoiceFilter(TagScanner(tags, detector), LeaveFields() if detector else None)

    def remove() -> ChoiceFilter:
        return ChoiceFilter(TagScanner(tags, detector), RemoveFields())

    def move_to_field() -> ChoiceFilter:
        buffer = ThoughtBuffer()
        target = FieldTarget(settings.field, buffer)
        return ChoiceFilter(TagScanner(tags, detector, buffer), target, target)

    def write_into_text() -> ChoiceFilter:
        writer = TagWriter(settings.tags[0] if settings.tags else TagPair(), detector)
        return ChoiceFilter(writer, FieldsIntoText(writer))

    factories: dict[Reasoning | None, Callable[[], ChoiceFilter]] = {
        None: leave_fields,
        Reasoning.STRIP: remove,
        Reasoning.FIELD: move_to_field,
        Reasoning.TAGS: write_into_text,
    }
    return factories[settings.policy]
