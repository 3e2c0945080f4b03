"""The time for the attempts of one request: whether there is any left for another one, and how much."""

from __future__ import annotations

import math
from dataclasses import replace

from argoproxy.protocol.resilience.retry_hints import patience_s
from argoproxy.protocol.routing.route import Route, UpstreamT

#: How long a connection to an upstream may take that has failed before and is asked because it is the only one.
FORCED_CONNECT_S = 2.0
#: The part of a client's own time-out in which another attempt may begin.
PATIENCE = 0.8


def has_time(route: Route[UpstreamT], elapsed_s: float) -> bool:
    """Return whether an attempt that begins so many seconds after the request can be of use: its client still waits,
    and the time for all attempts is not over."""
    return elapsed_s < min(PATIENCE * patience_s(route.call.headers), route.timeouts.total_s)


def limit_time(route: Route[UpstreamT], elapsed_s: float) -> Route[UpstreamT]:
    """Return a route with what is left of the time for all attempts."""
    total_s = route.timeouts.total_s
    if total_s == math.inf:
        return route
    return replace(route, timeouts=replace(route.timeouts, total_s=max(0.001, total_s - elapsed_s)))


def hurry(route: Route[UpstreamT]) -> Route[UpstreamT]:
    """Return a route that does not wait long for a connection, because it has failed before."""
    connect_s = min(FORCED_CONNECT_S, route.timeouts.connect_s)
    return replace(route, timeouts=replace(route.timeouts, connect_s=connect_s))
