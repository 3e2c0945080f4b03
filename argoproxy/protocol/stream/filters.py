"""Features are filters over batches; this is the one driver of all of them.

An empty batch means "nothing for the client just now" and passes untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

from argoproxy.errors import ProxyError
from argoproxy.protocol.stream.sse import Batch

ItemT = TypeVar("ItemT")


class Filter(Protocol):
    """One transformation of what the client will see."""

    def feed(self, batch: Batch) -> Batch:
        """Take a batch, give what may go on; the same list when nothing changed."""

    def finish(self) -> Batch:
        """Take the end of the stream, give what was still held back."""


def prefetch_first(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """Take the first one now, even an empty one, so that a failure up to it still has a status; give all of them.

    Raises whatever the first one raises.
    """
    rest = iter(items)
    return chain(list(islice(rest, 1)), rest)


def apply_filters(batches: Iterable[Batch], filters: Callable[[], Sequence[Filter]]) -> Iterator[Batch]:
    """Send batches through filters, which are asked for when the first event comes.

    When the batches break off, what the filters still hold is given first, then the ProxyError is raised on.
    """
    chain: Sequence[Filter] | None = None
    broken: ProxyError | None = None
    try:
        for batch in batches:
            if batch:
                chain = filters() if chain is None else chain
                for step in chain:
                    batch = step.feed(batch)
            yield batch
    except ProxyError as error:
        broken = error
    if held := _finished(chain or ()):
        yield held
    try:
        if broken:
            raise broken
    finally:
        del broken


def _finished(chain: Sequence[Filter]) -> Batch:
    held: Batch = []
    for step in chain:
        held = (step.feed(held) if held else []) + step.finish()
    return held
