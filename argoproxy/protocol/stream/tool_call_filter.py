"""Repairs of what servers send a client, by the rules of the rooms that know them; what is right passes unparsed."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.protocol.stream.sse import Batch, Event
from argoproxy.protocol.stream.tool_calls import ToolCalls, with_text

_MARK = b'"tool_calls"'
#: How most fragments come: the index of a choice, that of a call, and arguments.
_BARE = re.compile(
    rb'"choices":\[\{"index":(\d{1,9}),"delta":\{"tool_calls":\[\{"index":(\d{1,9}),'
    rb'"function":\{"arguments":"[^"\\]*(?:\\.[^"\\]*)*"\}\}\]\}'
)


class ToolCallFilter:
    """A Filter that gives tool calls the indexes and fragments of OpenAI, in every choice; whole calls have no index
    to be repaired, only arguments that came as an object."""

    def __init__(self) -> None:
        self._choices: dict[int, ToolCalls] = {}

    def feed(self, batch: Batch) -> Batch:
        passed = batch
        for place, event in enumerate(batch):
            if _MARK in event.raw and not self._goes_on(event.raw) and (new := self._repaired(event)) is not event:
                passed = list(batch) if passed is batch else passed
                passed[place] = new
        return passed

    def finish(self) -> Batch:
        return []

    def _goes_on(self, raw: bytes) -> bool:
        """Tell, without parsing it, whether an event holds one fragment, which is right as it is."""
        bare = _BARE.search(raw)
        if not bare or raw.count(_MARK) > 1:
            return False
        fragments = self._choices.get(int(bare.group(1)))
        return fragments is not None and fragments.goes_on(int(bare.group(2)))

    def _repaired(self, event: Event) -> Event:
        chunk = event.chunk or {}
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return event
        new = [self._choice(place, choice) for place, choice in enumerate(choices)]
        return event if all(map(is_, new, choices)) else type(event).of({**chunk, "choices": new})

    def _choice(self, place: int, choice: Any) -> Any:
        if not isinstance(choice, dict):
            return choice
        fragments = self._choices.setdefault(choice_index(choice, place), ToolCalls())
        streamed = _changed(choice, "delta", fragments.repaired)
        return _changed(streamed, "message", _with_texts)


def _changed(choice: Json, holder: str, repaired: Callable[[Any], Any]) -> Json:
    """Give a choice whose delta or message has its tool calls repaired."""
    told = choice.get(holder)
    calls = told.get("tool_calls") if isinstance(told, dict) else None
    new = repaired(calls)
    return choice if new is calls else {**choice, holder: {**choice[holder], "tool_calls": new}}


def _with_texts(calls: Any) -> Any:
    """Give whole calls with arguments that are text."""
    if not isinstance(calls, list):
        return calls
    new = [with_text(call) if isinstance(call, dict) else call for call in calls]
    return calls if all(map(is_, new, calls)) else new
