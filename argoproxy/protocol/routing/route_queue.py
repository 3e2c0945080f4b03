"""Which route of a request is tried next. Nothing is sent or awaited here: a driver reports what became of an attempt.

| an attempt ended with | next |
| --- | --- |
| anything, after content came | none: two answers would be joined |
| a refusal of the mode (stream, or whole) | the same route in the other mode, once |
| a refusal of `stream_options` that the proxy added | the same route without it |
| any other failure | what the table in `resilience/failures.py` says |

The refusal of a form is part of an attempt: the upstream has done nothing. There are at most as many attempts as
routes, and one more. A client that leaves ends everything: `ClientGone` is no ProxyError and never comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Never, Self

from argoproxy.errors import ProxyError
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import dumps
from argoproxy.protocol.resilience.failures import (
    CONSEQUENCES,
    Again,
    Elsewhere,
    FailureKind,
    falls_back,
    is_worth_repeating,
)
from argoproxy.protocol.resilience.retry_hints import forbids_fallback, is_retried_by_client
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import refuses_usage
from argoproxy.protocol.routing.route import Route, UpstreamT

#: A longer body is sent once: it would be kept for a second attempt as long as the first one lasts.
LONGEST_KEPT = 8 * 1024 * 1024


class AttemptLimits(NamedTuple):
    """What a client allows: another route; and with which `headers` it came, which say whether it tries again."""

    may_fall_back: bool = True
    headers: Headers = ()

    @classmethod
    def of(cls, call: Call) -> Self:
        """Return what holds for a call. Raises BadRequest for a header that has no meaning."""
        return cls(not forbids_fallback(call.headers) and _body_size(call) <= LONGEST_KEPT, call.headers)

    @property
    def may_repeat(self) -> bool:
        """Whether the same route may be tried again; what an SDK tries again by itself is not repeated here too."""
        return self.may_fall_back and not is_retried_by_client(self.headers)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """What became of an attempt: the error, its kind, and after how many seconds the upstream wants to be asked again;
    None if it does not say, or forbids it."""

    error: ProxyError
    kind: FailureKind
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NextAttempt(Generic[UpstreamT]):
    """The route to try, and after which wait. `is_repeated` says that it has just been tried."""

    route: Route[UpstreamT]
    wait_s: float = 0.0
    is_repeated: bool = False


NO_LIMITS = AttemptLimits()


class RouteQueue(Generic[UpstreamT]):
    """The routes of one request, best first, and how far they were tried."""

    #: Whether content came along the current route: then each failure is final.
    has_content = False
    #: The form in which the upstream of `current` has refused the call before, if it has.
    refused_form: Route[UpstreamT] | None = None
    _has_repeated = _has_grown = False

    def __init__(
        self,
        routes: Sequence[Route[UpstreamT]],
        limits: AttemptLimits = NO_LIMITS,
        admits: Callable[[Route[UpstreamT]], bool] = lambda _: True,
        find_larger: Callable[[str], Sequence[Route[UpstreamT]]] = lambda _: (),
    ) -> None:
        """`admits` begins an attempt at a route, and returns False for one that is passed over now. `find_larger`
        returns the routes of the model that takes longer prompts."""
        self._spares = list(routes)
        self._limits = limits
        self._admits = admits
        self._find_larger = find_larger
        #: Whether there is no other route, or none that may be tried.
        self.is_alone = len(routes) == 1 or not limits.may_fall_back
        #: The route to try now.
        self.current = routes[0]

    def detach(self) -> None:
        """Let go of the functions that were given, whose owner refers to this queue: such a cycle would keep the memory
        of a request until the garbage collector runs."""
        self._admits, self._find_larger = _refuse, _find_none

    @property
    def has_spare(self) -> bool:
        """Whether another route may follow a failure of the current one."""
        return bool(self._spares) and self._limits.may_fall_back and bool(self.current.resilience.fallback_on)

    def start(self) -> Route[UpstreamT] | None:
        """Return the first route that is admitted, None if there is none."""
        if not self.is_alone:
            return self._take_spare()
        first, self._spares = self._spares[0], []
        return first if self._admits(first) else None

    def start_at(self, route: Route[UpstreamT]) -> None:
        """Begin with a route because none is admitted; it gets one attempt."""
        self.current, self._has_repeated = route, True

    def put_back(self, routes: Sequence[Route[UpstreamT]]) -> None:
        """Have routes tried that were not admitted, before the other spares."""
        if routes:
            self._spares = [*routes, *self._spares]

    def go_to(self, route: Route[UpstreamT]) -> None:
        """Move on to a route that was admitted later."""
        self.refused_form, self.current = None, route

    def mark_content(self) -> None:
        """Note that content came along the current route: from now on each failure is final."""
        self.has_content = True

    def other_form(self, error: ProxyError) -> Route[UpstreamT] | None:
        """Return the current route in another form if its upstream has refused this one, and move on to that."""
        if self.has_content or not (other := _accepted_form(self.current, error)):
            return None
        self.refused_form, self.current = self.current, other
        return other

    def next_after(self, failure: FailedAttempt) -> NextAttempt[UpstreamT] | None:
        """Move on after a failure of the current route, and return what to try; None if the failure is final."""
        if self.has_content or not self._limits.may_fall_back:
            return None
        self._add_larger(failure)
        if self._falls_back(failure) and (spare := self._take_spare()):
            return NextAttempt(spare)
        return self._repeat(failure)

    def _falls_back(self, failure: FailedAttempt) -> bool:
        is_larger = self._has_grown and failure.kind is FailureKind.CONTEXT_LENGTH
        return is_larger or falls_back(failure.error, failure.kind, self.current.resilience.fallback_on)

    def _take_spare(self) -> Route[UpstreamT] | None:
        while self._spares:
            route = self._spares.pop(0)
            if self._admits(route):
                self.refused_form, self.current = None, route
                return route
        return None

    def _add_larger(self, failure: FailedAttempt) -> None:
        """Replace the spares by the routes of the model for longer prompts, once, if this one was too long."""
        model = self.current.resilience.context_fallback
        if CONSEQUENCES[failure.kind].elsewhere is not Elsewhere.LARGER_CONTEXT or not model or self._has_grown:
            return
        self._has_grown, self.is_alone = True, False
        self._spares = list(self._find_larger(model))

    def _repeat(self, failure: FailedAttempt) -> NextAttempt[UpstreamT] | None:
        if self._has_repeated or not self._limits.may_repeat:
            return None
        again, delay_s = CONSEQUENCES[failure.kind].again, failure.retry_after_s
        if again is Again.IF_ALONE and self.is_alone and is_worth_repeating(failure.error):
            delay_s = 0.0
        elif again is not Again.AFTER_DELAY or delay_s is None or delay_s > self.current.resilience.retry_wait_s:
            return None
        self._has_repeated = True
        return NextAttempt(self.current, delay_s, is_repeated=True)


def _refuse(_: object) -> bool:
    return False


def _find_none(_: str) -> Sequence[Never]:
    return ()


def _accepted_form(route: Route[UpstreamT], error: ProxyError) -> Route[UpstreamT] | None:
    """Return the same route in a form that its upstream may accept; None if the error is no refusal of a form."""
    if route.other_mode and route.upstream.refuses_mode(error):
        return route.in_other_mode()
    if route.adds_usage and refuses_usage(error):
        return route.without_usage()
    return None


def _body_size(call: Call) -> int:
    raw = (call.origin or call).raw
    return len(raw) if raw is not None else len(dumps((call.origin or call).body))
