"""Which route of a request is tried next. Nothing is sent or awaited here: a driver reports what became of an attempt.

| an attempt ended with | next |
| --- | --- |
| anything, after data came | none: two answers would be joined |
| a refusal of the mode (stream, or whole) | the same route in the other mode, once |
| a refusal of `stream_options` that the proxy added | the same route without it |
| a failure before anything was sent (no connection) | the next route |
| any other failure | none: the upstream may have done the work |

A client that leaves ends everything: `ClientGone` is no ProxyError and never comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from argoproxy.errors import ProxyError
from argoproxy.protocol.routing.modes import refuses_usage
from argoproxy.protocol.routing.route import Route, UpstreamT


class RouteQueue(Generic[UpstreamT]):
    """The routes of one request, best first, and how far they were tried."""

    def __init__(self, routes: Sequence[Route[UpstreamT]]) -> None:
        #: The route to try now.
        self.current, *self._spares = routes
        #: The form in which the upstream of `current` has refused the call before, if it has.
        self.refused_form: Route[UpstreamT] | None = None
        self._has_data = False

    def mark_data(self) -> None:
        """Note that data came along the current route: from now on each failure is final."""
        self._has_data = True

    def next_after(self, error: ProxyError) -> Route[UpstreamT] | None:
        """Move on after a failure of the current route, and return the route to try; None if the failure is final."""
        if self._has_data:
            return None
        if other_form := _accepted_form(self.current, error):
            self.refused_form, self.current = self.current, other_form
            return other_form
        if self._spares and not error.reached:
            self.refused_form, self.current = None, self._spares.pop(0)
            return self.current
        return None


def _accepted_form(route: Route[UpstreamT], error: ProxyError) -> Route[UpstreamT] | None:
    """Return the same route in a form that its upstream may accept; None if the error is no refusal of a form."""
    if route.other_mode and route.upstream.refuses_mode(error):
        return route.in_other_mode()
    if route.adds_usage and refuses_usage(error):
        return route.without_usage()
    return None
