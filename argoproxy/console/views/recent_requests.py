"""The requests that have ended lately, as the console remembers them: what the rings of the workers hold, and held when
it looked before."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from argoproxy.console.views.view_shapes import LastEnding, Percentiles, StripCell
from argoproxy.errors import Ending

#: How long requests are remembered, and how many at most.
KEEP_S = 1800.0
MOST_KEPT = 20_000
MINUTE_S = 60.0


class RecentRequest(NamedTuple):
    """A request that has ended `at` (seconds since 1970). Times are milliseconds, None for what did not happen, tokens
    None if they are not known."""

    at: float
    id: str
    model: str
    upstream: str
    key: str
    ending: str
    status: int
    first_byte_ms: float | None
    total_ms: float
    code: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def has_failed(self) -> bool:
        """Whether it failed. A client that leaves is no failure."""
        return self.ending not in (Ending.COMPLETE, Ending.CLIENT_GONE)


class RecentRequests:
    """The requests of the last half hour, each once. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[str, RecentRequest] = {}

    def add(self, requests: Iterable[RecentRequest], now: float) -> Sequence[RecentRequest]:
        """Remember requests, forget old ones, and return all in the order in which they ended."""
        with self._lock:
            self._requests.update((request.id, request) for request in requests)
            kept = sorted((one for one in self._requests.values() if now - one.at < KEEP_S), key=lambda one: one.at)
            kept = kept[-MOST_KEPT:]
            self._requests = {one.id: one for one in kept}
        return kept


def find_percentiles(times: Iterable[float | None]) -> Percentiles:
    """Return the median and the 95th percentile: the smallest time that so many do not exceed."""
    known = sorted(time for time in times if time is not None)
    if not known:
        return {"p50": None, "p95": None}
    p50, p95 = (known[-(-len(known) * percent // 100) - 1] for percent in (50, 95))
    return {"p50": round(p50, 1), "p95": round(p95, 1)}


def make_strip(requests: Sequence[RecentRequest], now: float, minutes: int) -> list[StripCell]:
    """Return a cell for each of the last minutes, oldest first."""
    groups: list[list[RecentRequest]] = [[] for _ in range(minutes)]
    for request in requests:
        age = int((now - request.at) // MINUTE_S)
        if 0 <= age < minutes:
            groups[minutes - 1 - age].append(request)
    return [_make_cell(group) for group in groups]


def last_ending(requests: Sequence[RecentRequest]) -> LastEnding | None:
    """Return how the last of some requests ended; None without any."""
    if not requests:
        return None
    last = requests[-1]
    return {"at": last.at, "id": last.id, "ending": last.ending, "status": last.status}


def _make_cell(group: Sequence[RecentRequest]) -> StripCell:
    failed = sum(one.has_failed for one in group)
    p50 = find_percentiles(one.first_byte_ms for one in group if not one.has_failed)["p50"]
    return {"requests": len(group), "failed": failed, "p50": p50}
