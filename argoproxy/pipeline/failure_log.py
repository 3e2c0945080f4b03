"""The failed attempts of one request: what became of each, and which upstreams only asked to wait."""

from __future__ import annotations

import math

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.resilience.retry_hints import LimitedRoute
from argoproxy.telemetry.outcome import AttemptSummary


class FailureLog:
    """Remembers the attempts of one request that failed."""

    def __init__(self) -> None:
        self.summaries: tuple[AttemptSummary, ...] = ()
        self._limited: dict[str, LimitedRoute] = {}

    def add(self, summary: AttemptSummary) -> None:
        """Remember what became of an attempt."""
        self.summaries = (*self.summaries, summary)

    def add_limit(self, upstream: str, error: ProxyError, due_s: float | None, attempt: int) -> None:
        """Remember that an upstream asked to wait: until when, in seconds of the request, if it said so, and in which
        attempt."""
        if isinstance(error, UpstreamStatus):
            # Without its traceback, which refers to the frames of the attempt and so to its connection.
            bare = type(error)(error.status, error.headers, error.body)
            self._limited[upstream] = LimitedRoute(bare, math.inf if due_s is None else due_s, attempt)

    @property
    def soonest(self) -> LimitedRoute | None:
        """The upstream that asked to wait and may be asked again first, None if none did."""
        return min(self._limited.values(), key=lambda limited: limited.due_s, default=None)
