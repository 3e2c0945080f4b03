"""Results that take time are computed again only as often as a small part of a core allows, however many look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

ResultT = TypeVar("ResultT")

#: How long a result is shown at least, and how many times as long as it took.
KEEP_S, KEEP_FACTOR = 2.0, 50.0
MOST_RESULTS = 100


class _Kept(NamedTuple, Generic[ResultT]):
    result: ResultT
    until: float


class PacedCache(Generic[ResultT]):
    """Results by their questions. One is computed at a time; those who wait for the same get it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[Hashable, _Kept[ResultT]] = {}

    def find(self, question: Hashable, compute: Callable[[], ResultT]) -> ResultT:
        """Return the result of a question, computed now if it is not known or too old."""
        with self._lock:
            kept = self._kept.get(question)
            begun = self._clock()
            if kept is None or begun >= kept.until:
                result = compute()
                ended = self._clock()
                if len(self._kept) >= MOST_RESULTS:
                    self._kept.clear()
                self._kept[question] = kept = _Kept(result, ended + max(KEEP_S, KEEP_FACTOR * (ended - begun)))
            return kept.result
