"""A filter that says in the usage of an answer what it costs."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, TypeVar

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.money import to_number
from argoproxy.protocol.stream.chunk_fields import with_service
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Event

EventT = TypeVar("EventT", bound=Event)


class UsageCostFilter:
    """A Filter that sets `cost` in each usage, of chunks and documents; one whose cost is not known stays as it is."""

    takes_runs = True

    def __init__(self, cost_of: Callable[[Json], int | None]) -> None:
        """`cost_of` returns what a usage costs, in billionths; None if that is not known."""
        self._cost_of = cost_of

    def feed(self, batch: Batch) -> Batch:
        passed: Batch = [event if isinstance(event, TextRun) else self.set_cost(event) for event in batch]
        return batch if all(map(is_, passed, batch)) else passed

    def finish(self) -> Batch:
        return []

    def set_cost(self, event: EventT) -> EventT:
        """Return an event with the cost in its usage; the same object if it has none, or none that is known."""
        chunk = (event.chunk or {}) if b'"usage"' in event.raw else {}
        usage: Any = chunk.get("usage")
        nanos = self._cost_of(with_service(usage, chunk)) if isinstance(usage, dict) else None
        if nanos is None:
            return event
        return type(event).of({**chunk, "usage": {**usage, "cost": to_number(nanos)}})
