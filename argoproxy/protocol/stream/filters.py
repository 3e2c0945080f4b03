"""The Filter protocol, and the one loop that sends batches through filters.

An empty batch means "no data yet": it passes untouched, so that the consumer can send heartbeats meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

from argoproxy.errors import ProxyError
from argoproxy.protocol.stream.runs import cut_runs
from argoproxy.protocol.stream.sse import Batch

ItemT = TypeVar("ItemT")


class Filter(Protocol):
    """One transformation of what the client receives. One that has an attribute `takes_runs` that is true gets runs
    of events uncut (`runs.TextRun`); unless all filters of a stream do, none gets one."""

    def feed(self, batch: Batch) -> Batch:
        """Take a batch and return what may be sent; the same list if nothing changed."""

    def finish(self) -> Batch:
        """Take the end of the stream and return what was held back."""


def prefetch_first(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """Take the first item now and return an iterator over all items.

    A failure before the first item can still be answered with an error status: it is raised here.
    """
    rest = iter(items)
    return chain(list(islice(rest, 1)), rest)


def apply_filters(batches: Iterable[Batch], make_filters: Callable[[], Sequence[Filter]]) -> Iterator[Batch]:
    """Send batches through filters, which are made when the first event arrives.

    If the batches fail with a ProxyError, what the filters still hold is yielded before the error is raised again.
    """
    filters: Sequence[Filter] | None = None
    takes_runs = False
    failure: ProxyError | None = None
    try:
        for batch in batches:
            if batch:
                if filters is None:
                    filters = make_filters()
                    takes_runs = all(getattr(step, "takes_runs", False) for step in filters)
                batch = batch if takes_runs else cut_runs(batch)
                for step in filters:
                    batch = step.feed(batch)
            yield batch
    except ProxyError as error:
        failure = error
    if held := _finish_all(filters or ()):
        yield held
    try:
        if failure:
            raise failure
    finally:
        # The error's traceback refers to this frame: without this the two would form a reference cycle.
        del failure


def _finish_all(filters: Sequence[Filter]) -> Batch:
    held: Batch = []
    for step in filters:
        held = (step.feed(held) if held else []) + step.finish()
    return held
