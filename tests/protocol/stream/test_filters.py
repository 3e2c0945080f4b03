from __future__ import annotations

from collections.abc import Iterator

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.stream.filters import apply_filters, prefetch_first
from argoproxy.protocol.stream.sse import Batch, Event

ONE, TWO, THREE = Event(b"data: 1\n\n"), Event(b"data: 2\n\n"), Event(b"data: 3\n\n")


class Delay:
    """Holds each event back until the next one comes."""

    def __init__(self) -> None:
        self.held: Batch = []

    def feed(self, batch: Batch) -> Batch:
        passed = [*self.held, *batch[:-1]]
        self.held = batch[-1:]
        return passed

    def finish(self) -> Batch:
        return self.held


def test_batches_go_through_all_filters_in_order() -> None:
    batches = list(apply_filters([[ONE], [], [TWO, THREE]], lambda: [Delay(), Delay()]))
    assert batches == [[], [], [ONE], [TWO, THREE]]


def test_empty_batches_pass_before_there_are_filters() -> None:
    asked: list[str] = []

    def filters() -> list[Delay]:
        asked.append("asked")
        return []

    moving = apply_filters([[], [ONE], [TWO]], filters)
    assert next(moving) == []
    assert asked == []
    assert list(moving) == [[ONE], [TWO]]
    assert asked == ["asked"]


def test_what_is_held_comes_before_the_break() -> None:
    def broken() -> Iterator[Batch]:
        yield [ONE]
        raise UpstreamProtocolError("broke")

    moving = apply_filters(broken(), lambda: [Delay()])
    assert next(moving) == []
    assert next(moving) == [ONE]
    with pytest.raises(UpstreamProtocolError, match="broke"):
        next(moving)


def test_a_break_before_the_first_event_has_nothing_held() -> None:
    def broken() -> Iterator[Batch]:
        yield []
        raise UpstreamProtocolError("broke")

    with pytest.raises(UpstreamProtocolError):
        list(apply_filters(broken(), lambda: [Delay()]))


def test_the_first_item_is_prefetched() -> None:
    taken: list[int] = []

    def counting() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    moving = prefetch_first(counting())
    assert taken == [0]
    assert list(moving) == [0, 1, 2]
    assert list(prefetch_first(iter(()))) == []


def test_an_error_of_the_first_item_is_raised_at_once() -> None:
    def broken() -> Iterator[int]:
        yield from map(fail, [1])

    def fail(number: int) -> int:
        raise UpstreamProtocolError("at once")

    with pytest.raises(UpstreamProtocolError, match="at once"):
        prefetch_first(broken())
