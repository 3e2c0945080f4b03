"""The children of metrics by their labels, and the numbers that they keep in mapped files.

prometheus_client creates both, and reads the files when it is scraped; only the additions are made here, in a fifth of
its calls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from struct import Struct
from threading import Lock
from typing import Any, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

ChildT = TypeVar("ChildT", "Sum", "Distribution")

_pack_pair = Struct("dd").pack


class Number:
    """A number of a metric, which it keeps in a file. Adding to it here does what `MmapedValue.inc` does, without its
    check for a fork: a slot stays with its worker. One request adds seventeen times."""

    __slots__ = ("_file", "_position", "_total")

    def __init__(self, value: Any) -> None:
        self._file = value._file  # noqa: SLF001 prometheus_client is pinned, and has no public way to it
        self._position = self._file._positions[value._key]  # noqa: SLF001
        self._total: float = value.get()

    def add(self, amount: float) -> None:
        """Add to the number; its metric's lock must be held."""
        self._total = total = self._total + amount
        # One assignment, which a worker that reads the file can't see a half of. The file grows into a new mapping.
        self._file._m[self._position : self._position + 16] = _pack_pair(total, 0.0)  # noqa: SLF001


class Sum:
    """A child of a counter or a gauge."""

    __slots__ = ("_lock", "_number")

    def __init__(self, child: Any, lock: Lock) -> None:
        self._number = Number(child._value)  # noqa: SLF001
        self._lock = lock

    def inc(self, amount: float = 1) -> None:
        with self._lock:
            self._number.add(amount)


class Distribution:
    """A child of a histogram."""

    __slots__ = ("_bounds", "_buckets", "_lock", "_sum")

    def __init__(self, child: Any, lock: Lock) -> None:
        self._bounds: Sequence[float] = child._upper_bounds  # noqa: SLF001
        self._buckets = [Number(bucket) for bucket in child._buckets]  # noqa: SLF001
        self._sum = Number(child._sum)  # noqa: SLF001
        self._lock = lock

    def observe(self, amount: float) -> None:
        with self._lock:
            self._sum.add(amount)
            self._buckets[bisect_left(self._bounds, amount)].add(1)


class Children(dict[tuple[str, ...], ChildT], Generic[ChildT]):
    """The children of a metric by their labels: a lookup here is faster than `metric.labels`, which takes a lock."""

    def __init__(self, metric: MetricWrapperBase, kind: Callable[[Any, Lock], ChildT]) -> None:
        """`kind` makes a child of prometheus_client's own one and the lock of all."""
        super().__init__()
        self._metric = metric
        self._kind: Callable[[Any, Lock], ChildT] = kind
        self._lock = Lock()

    def __missing__(self, labels: tuple[str, ...]) -> ChildT:
        with self._lock:  # two that count in the same place would overwrite each other
            if labels not in self:
                self[labels] = self._kind(self._metric.labels(*labels), self._lock)
            return self[labels]


def counters(name: str, text: str, labels: Sequence[str]) -> Children[Sum]:
    """Return the children of a counter."""
    return Children(Counter(name, text, labels, registry=None), Sum)


def gauges(name: str, text: str, labels: Sequence[str]) -> Children[Sum]:
    """Return the children of a gauge, which is summed over the workers that live."""
    return Children(Gauge(name, text, labels, registry=None, multiprocess_mode="livesum"), Sum)


def histograms(name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Children[Distribution]:
    """Return the children of a histogram."""
    return Children(Histogram(name, text, labels, registry=None, buckets=buckets), Distribution)
