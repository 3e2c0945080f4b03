"""The place of a request at an upstream that gets only so many at once: taken, waited for, given back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import random

from argoproxy.errors import UpstreamsFull
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.shared.waker import Waker
from argoproxy.protocol.resilience.waiting import PlaceLimits, hash_name
from argoproxy.protocol.routing.route import Route
from argoproxy.shared_state.upstream_places import Ticket, UpstreamPlaces
from argoproxy.upstreams import Upstream

#: How often a request that waits looks whether another worker gave it a place. One of its own worker wakes it at once.
POLL_S = 0.02
_MESSAGE = "All upstreams of this model serve as many requests as they may at once; try again later."


def keep_place(places: UpstreamPlaces | None, context: RequestContext) -> PlaceKeeper:
    """Return what keeps the place of a request; without places nothing is limited."""
    return PlaceKeeper(places, context) if places else _UNLIMITED


class PlaceKeeper:
    """Keeps the place of one request. A place that was taken for the next attempt is `confirmed` when that begins, and
    that of the attempt before is given back then."""

    _held: Ticket | None = None
    _next: Ticket | None = None

    def __init__(self, places: UpstreamPlaces, context: RequestContext) -> None:
        self._places, self._context = places, context
        self._full: Sequence[Route[Upstream]] = ()

    def take_free(self, route: Route[Upstream]) -> bool:
        """Take a place for a route; return False, and remember the route, if none is free now."""
        if route.limits is None:
            return True
        try:
            self._next = self._places.take_free(self._key(), route.limits)
        except TimeoutError:
            self._next = None
        if self._next is None:
            self._full = [*self._full, route]
        return self._next is not None

    def pop_full(self) -> Sequence[Route[Upstream]]:
        """Return the routes at which no place was free, and forget them."""
        full, self._full = self._full, ()
        return full

    def wait(self, routes: Sequence[Route[Upstream]]) -> Route[Upstream]:
        """Take a place at the first route that has one, when there is one, and return the route. The place of the
        attempt before is given back at once. Raises UpstreamsFull, ClientGone, Stopping."""
        self.close()
        limited = [(route, route.limits) for route in routes if route.limits is not None]
        if len(limited) < len(routes):
            return next((route for route in routes if route.limits is None), routes[0])
        limits = [one for _, one in limited]
        wait_s = min(max(one.wait_s for one in limits), *(route.timeouts.total_s for route in routes))
        try:
            ticket = self._places.take(self._key(), limits)
            if ticket is None:
                raise _refusal(limits)
            self._next = ticket
            if ticket.option is None:
                self._wait_for(ticket, wait_s)
        except TimeoutError:
            raise _refusal(limits) from None
        if ticket.option is None:
            self.cancel()
            raise _refusal(limits)
        return limited[ticket.option][0]

    def confirm(self) -> None:
        """Begin the attempt that a place was taken for."""
        if self._held:
            self._held.release()
        self._held, self._next = self._next, None

    def cancel(self) -> None:
        """Give back the place that was taken for the next attempt: there is none."""
        if self._next:
            self._next.release()
        self._next = None

    def close(self) -> None:
        """Give back all; further calls do nothing."""
        self.cancel()
        self.confirm()

    def _wait_for(self, ticket: Ticket, seconds: float) -> None:
        """Wait until a ticket has a place, or has lost its place in the line. Raises TimeoutError, ClientGone,
        Stopping."""
        watch, waker, begun = self._context.watch, Waker(), time.monotonic()
        until, ticket.wake = begun + seconds, waker.wake
        self._context.is_queued = True
        try:
            while ticket.is_waiting() and (left_s := until - time.monotonic()) > 0:
                watch.wait(waker, min(left_s, POLL_S * (0.75 + random() / 2)))  # noqa: S311 no secret
                waker.clear()
        finally:
            ticket.wake = None
            watch.unregister()
            waker.close()
            self._context.is_queued = False
            self._context.add_queue_time(time.monotonic() - begun)

    def _key(self) -> int:
        return hash_name(self._context.key_name)


class _Unlimited(PlaceKeeper):
    """Where nothing is limited there is nothing to keep: one for all requests."""

    def __init__(self) -> None:
        pass

    def take_free(self, route: Route[Upstream]) -> bool:
        return True

    def pop_full(self) -> Sequence[Route[Upstream]]:
        return ()

    def wait(self, routes: Sequence[Route[Upstream]]) -> Route[Upstream]:
        return routes[0]

    def confirm(self) -> None:
        pass

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


_UNLIMITED = _Unlimited()


def _refusal(limits: Sequence[PlaceLimits]) -> UpstreamsFull:
    """Return the error. All that wait now are gone after the longest wait; clients come back spread over that time."""
    return UpstreamsFull(_MESSAGE, random() * max(one.wait_s for one in limits))  # noqa: S311
