"""`/api/live`: what happens now: requests and tokens second by second, streams under way, and what ended last."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypedDict

from argoproxy.console.live.request_reader import NOT_KEPT, NOT_TOLD, RequestReader
from argoproxy.console.views.recent_requests import RecentRequest
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, read_totals
from argoproxy.console.views.upstreams_view import read_states
from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.live.live_files import OpenRequest

#: How many seconds are shown, and the shortest time between two looks.
SHOWN_S, SHORTEST_S = 300, 0.9
MOST_SHOWN = 100


class LiveSecond(TypedDict):
    """What was counted between two looks, a second."""

    at: float
    requests: float
    failed: float
    tokens_in: float
    tokens_out: float


class LiveUpstream(TypedDict):
    """What an upstream serves now."""

    name: str
    state: str
    open_streams: int
    waiting: int


class LiveView(TypedDict):
    """The JSON of the view. `open` are the requests under way, the oldest first, `finished` those that have ended, the
    last one first, both at most MOST_SHOWN; `open_count` is how many there are in all. `open_reason` and `reason` say
    why there are none."""

    now: float
    strip: list[LiveSecond]
    upstreams: list[LiveUpstream]
    open: list[OpenRequest]
    open_count: int
    open_reason: str
    finished: list[Json]
    reason: str


class _Sums(NamedTuple):
    at: float
    requests: int
    failed: int
    tokens_in: int
    tokens_out: int


class LiveSamples:
    """The counts at each look of the last minutes; nothing is added up while no page is open."""

    def __init__(
        self,
        requests: RequestReader,
        read: Callable[[Sources], Totals] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._requests, self._clock = requests, clock
        self._read = read or (lambda sources: read_totals(sources.shared))
        self._lock = threading.Lock()
        self._sums: deque[_Sums] = deque(maxlen=SHOWN_S + 1)

    def view(self, sources: Sources) -> LiveView:
        """Return the view."""
        with self._lock:
            now = self._clock()
            if self._sums and now < self._sums[-1].at:
                self._sums.clear()  # the clock was set back: else nothing would be shown until that moment comes again
            if not self._sums or now - self._sums[-1].at >= SHORTEST_S:
                self._sums.append(_sum(now, self._read(sources)))
            strip = _differences([one for one in self._sums if now - one.at <= SHOWN_S])
        ended, under_way = self._requests.read_ended(sources, now), self._requests.read_open()
        is_told = sources.config.console.console is not None
        return {
            "now": round(strip[-1]["at"] if strip else now),
            "strip": strip,
            "upstreams": _show_upstreams(sources),
            "open": under_way[:MOST_SHOWN],
            "open_count": len(under_way),
            "open_reason": "" if is_told else NOT_TOLD,
            "finished": [_show_ended(one) for one in reversed(ended[-MOST_SHOWN:])],
            "reason": "" if is_told or sources.config.journal else NOT_KEPT,
        }


def _sum(now: float, totals: Totals) -> _Sums:
    groups = totals.by_upstream.values()
    return _Sums(
        now,
        sum(group["requests"] for group in groups),
        sum(group["errors"] for group in groups),
        sum(group["tokens_in"] for group in groups),
        sum(group["tokens_out"] for group in groups),
    )


def _differences(sums: Sequence[_Sums]) -> list[LiveSecond]:
    """Return what was counted between each two looks, a second. Counts that fell are those of another start."""
    return [_difference(before, after) for before, after in pairwise(sums)]


def _difference(before: _Sums, after: _Sums) -> LiveSecond:
    seconds = max(0.001, after.at - before.at)
    rates = [max(0.0, round((new - old) / seconds, 2)) for old, new in zip(before[1:], after[1:], strict=True)]
    requests, failed, tokens_in, tokens_out = rates
    return {
        "at": round(after.at, 1),
        "requests": requests,
        "failed": failed,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
    }


def _show_upstreams(sources: Sources) -> list[LiveUpstream]:
    states = read_states(sources)
    return [
        {
            "name": name,
            "state": str(state.get("state", "")),
            "open_streams": int(state.get("open_streams", 0)),
            "waiting": int(state.get("waiting", 0)),
        }
        for name, state in states.items()
    ]


def _show_ended(request: RecentRequest) -> Json:
    return {name: value for name, value in request._asdict().items() if value not in ("", None)}
