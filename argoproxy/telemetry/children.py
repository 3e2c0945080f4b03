"""The children of metrics by their labels, and the numbers that they keep in mapped files.

prometheus_client creates both, and reads the files when it is scraped; only the additions are made here, in a fifth of
its calls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

ChildT = TypeVar("ChildT")

_SIZE = 8
_pack_double = Struct("d").pack


class Number:
    """A number of a metric, which it keeps in a file. Adding to it here does what `MmapedValue.inc` does, without its
    check for a fork: a slot stays with its worker. One request adds seventeen times.

    There is no lock here, nor in the other classes: who counts holds one for all that a request adds."""

    __slots__ = ("_file", "_place", "_total")

    def __init__(self, value: Any) -> None:
        self._file = value._file  # noqa: SLF001 prometheus_client is pinned, and has no public way to it
        position = self._file._positions[value._key]  # noqa: SLF001
        self._place = slice(position, position + _SIZE)
        self._total: float = value.get()

    def add(self, amount: float) -> None:
        """Add to the number."""
        self._total = total = self._total + amount
        # One store, which a worker that reads the file can't see a half of: `pack_into` would first store 0, which is
        # read, and stays if this worker is killed then. The file grows into a new mapping.
        self._file._m[self._place] = _pack_double(total)  # noqa: SLF001


class Distribution:
    """A child of a histogram."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, child: Any) -> None:
        self._bounds: Sequence[float] = child._upper_bounds  # noqa: SLF001
        self._buckets = [Number(bucket) for bucket in child._buckets]  # noqa: SLF001
        self._sum = Number(child._sum)  # noqa: SLF001

    def observe(self, amount: float) -> None:
        """Count an observation."""
        self._sum.add(amount)
        self._buckets[bisect_left(self._bounds, amount)].add(1)


class Children(dict[tuple[str, ...], ChildT], Generic[ChildT]):
    """The children of a metric by their labels: a lookup here is faster than `metric.labels`, which takes a lock."""

    def __init__(self, make: Callable[[tuple[str, ...]], ChildT]) -> None:
        """`make` makes the child with these labels."""
        super().__init__()
        self._make = make

    def __missing__(self, labels: tuple[str, ...]) -> ChildT:
        child = self[labels] = self._make(labels)
        return child


def counters(name: str, text: str, labels: Sequence[str]) -> Children[Number]:
    """Return the children of a counter."""
    counter = Counter(name, text, labels, registry=None)
    return Children(lambda values: Number(counter.labels(*values)._value))  # noqa: SLF001


def gauges(name: str, text: str, labels: Sequence[str]) -> Children[Number]:
    """Return the children of a gauge, which is summed over the workers that live."""
    gauge = Gauge(name, text, labels, registry=None, multiprocess_mode="livesum")
    return Children(lambda values: Number(gauge.labels(*values)._value))  # noqa: SLF001


def histograms(name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Children[Distribution]:
    """Return the children of a histogram."""
    histogram = Histogram(name, text, labels, registry=None, buckets=buckets)
    return Children(lambda values: Distribution(histogram.labels(*values)))
