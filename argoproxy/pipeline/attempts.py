"""The attempts of one request: which route is tried, what is held back meanwhile, and what is left of each attempt.

Up to the first content another route can answer, so while one is left, what comes before the content is held back: an
answer is never put together from two. Silence passes, because heartbeats are sent in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TypeVar

from argoproxy.errors import ProxyError, UpstreamsLimited, UpstreamsUnavailable
from argoproxy.pipeline.accounting.accountant import ask_usage
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.failure_log import FailureLog
from argoproxy.pipeline.place_keeper import keep_place
from argoproxy.pipeline.proxy import Proxy
from argoproxy.pipeline.route_order import resolve_in_order
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.failures import FailureKind, classify
from argoproxy.protocol.resilience.first_content import make_finder
from argoproxy.protocol.resilience.retry_hints import forbids_retry, retry_after_s
from argoproxy.protocol.routing.attempt_time import has_time, hurry, limit_time
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.routing.route_queue import AttemptLimits, FailedAttempt, NextAttempt, RouteQueue
from argoproxy.shared_state.upstream_state import UpstreamAttempt
from argoproxy.telemetry.outcome import AttemptSummary
from argoproxy.upstreams import Upstream

StepT = TypeVar("StepT")


def try_routes(
    routes: Sequence[Route[Upstream]],
    attempt: Callable[[Route[Upstream]], Iterator[StepT]],
    proxy: Proxy,
    context: RequestContext,
) -> Iterator[StepT]:
    """Yield what an attempt yields, on the first route that brings content. Raises ProxyError, ClientGone."""
    routes = admit_routes(routes, proxy, context)
    context.attempts = attempts = RequestAttempts(routes, proxy, context)
    route: Route[Upstream] | None = attempts.start()
    while route:
        steps = attempt(route)
        try:
            yield from (yield from attempts.hold_back(steps))
            yield from steps
            attempts.close()
            return
        except ProxyError as error:
            route = attempts.move_on(error)
            if route is None:
                attempts.raise_limit(error)
                raise


def admit_routes(routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext) -> Sequence[Route[Upstream]]:
    """Return the routes that limits allow now. Raises LimitExceeded, LimitsUnavailable, UnpricedModel, BadRequest."""
    if proxy.accountant is None:
        return routes
    routes = proxy.accountant.admit(routes, context)
    if context.early and context.account:
        context.early.add_headers(context.account.headers)
    return routes


class RequestAttempts:
    """The attempts of one request, one after the other."""

    _attempt: UpstreamAttempt | None = None
    _begun_s = 0.0
    _count = 0
    _is_answered = _is_settled = _is_closed = False
    _failures: FailureLog | None = None

    def __init__(self, routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext) -> None:
        self._proxy, self._context = proxy, context
        self._routes = [proxy.refused_modes.adapt(route) for route in routes]
        limits = AttemptLimits.of(routes[0].call)
        self._queue = RouteQueue(self._routes, limits, self._admit, self._find_larger)
        context.place = self._keeper = keep_place(proxy.places, context)

    def start(self) -> Route[Upstream]:
        """Return the first route to try. Raises UpstreamsUnavailable, UpstreamsLimited, UpstreamsFull, ClientGone."""
        return self._wait_if_full(self._queue.start()) or self._start_refused()

    def hold_back(self, steps: Iterator[StepT]) -> Generator[StepT, None, list[StepT]]:
        """Yield moments of silence, and return the steps up to the first content; up to the first one if no other
        route is left. Raises what the steps raise, and the error that comes in place of content."""
        held: list[StepT] = []
        finder = None
        for step in steps:
            if not step:
                # Bytes are answered with the head of their reply, so nothing may go out before the route is settled.
                if not (isinstance(step, bytes) and self._queue.has_spare):
                    yield step
                continue
            held.append(step)
            if not self._queue.has_spare:
                break
            finder = finder or make_finder(step, self._context.reply_headers)
            if finder is None or finder.feed(step):
                break
        else:
            if finder:
                finder.finish()
        self._accept()
        return held

    def move_on(self, error: ProxyError) -> Route[Upstream] | None:
        """Return the route to try after a failure, when its time has come; None if the failure is final. Raises
        ClientGone while it waits."""
        if other := self._queue.other_form(error):
            self._context.discard_attempt(error)
            return other
        delay_s = retry_after_s(error.headers, time.time())
        kind = self._count_failure(error, delay_s)
        failure = FailedAttempt(error, kind, None if forbids_retry(error.headers) else delay_s)
        following = self._queue.next_after(failure) if self._has_time() else None
        if following is None and (full := self._keeper.pop_full()):
            self._context.discard_attempt(error)
            return self._wait_for_place(full)
        if following is None or not self._allows(following):
            self._is_settled = True
            return None
        self._context.discard_attempt(error)
        if following.is_repeated:
            self._repeat(following)
        return self._wait_if_full(limit_time(following.route, self._context.meter.elapsed_s()))

    def raise_limit(self, error: ProxyError) -> None:
        """Raise, in place of the last failure, the 429 of an upstream that only asked to wait, if there was one among
        several attempts, with the time after which the first of them may be asked again."""
        soonest = self._failures and self._failures.soonest
        if soonest and soonest.attempt != self._count and not self._queue.has_content:
            self._context.discard_attempt(error)
            raise soonest.error_at(self._context.meter.elapsed_s()) from None

    def close(self) -> None:
        """Count the last attempt as over, and give back its place. No more attempts can be made."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.detach()
        if self._attempt:
            self._attempt.close()
        self._keeper.close()

    @property
    def headers(self) -> Headers:
        """Headers of the response: which upstream it comes from, and after how many attempts; none for a lone upstream
        that was asked once, and where a heartbeat sends the head while another route may still answer."""
        if (len(self._routes) == 1 and self._count < 2) or (self._queue.has_spare and not self._is_settled):
            return ()
        upstream = (("X-Upstream", self._queue.current.upstream.name),) if self._count else ()
        is_other = self._queue.current.target != self._routes[0].target
        fallback = (("X-Fallback", "true"),) if is_other and self._count else ()
        return (*upstream, ("X-Attempts", str(self._count)), *fallback)

    def summarize(self) -> tuple[AttemptSummary, ...]:
        """Return what became of each attempt, except for one whose client left before there was content."""
        failed = self._failures.summaries if self._failures else ()
        if not self._is_answered:
            return failed
        seconds = self._context.meter.elapsed_s() - self._begun_s
        return (*failed, AttemptSummary(self._queue.current.upstream.name, "", seconds))

    def _admit(self, route: Route[Upstream]) -> bool:
        return self._keeper.take_free(route) and self._begin_at(route)

    def _wait_if_full(self, route: Route[Upstream] | None) -> Route[Upstream] | None:
        """Return the route that was found; if there is none and some had no free place, wait for one."""
        full = self._keeper.pop_full()
        if route is None:
            return self._wait_for_place(full)
        self._queue.put_back(full)
        return route

    def _wait_for_place(self, full: Sequence[Route[Upstream]]) -> Route[Upstream] | None:
        """Wait for a place on one of the routes; None if, in the end, none is to be tried. Raises UpstreamsFull,
        ClientGone."""
        while full:
            route = self._keeper.wait(full)
            full = [other for other in full if other is not route]
            if self._begin_at(route):
                self._queue.put_back(full)
                self._queue.go_to(route)
                return limit_time(route, self._context.meter.elapsed_s())
        return None

    def _begin_at(self, route: Route[Upstream]) -> bool:
        """Begin an attempt with the place that was taken for it, unless the upstream is left alone now, or its own
        limits do not allow it. Raises LimitsUnavailable."""
        if not self._limits_allow(route):
            self._keeper.cancel()
            return False
        attempt = self._proxy.states.of(route.upstream.name).begin(route.call.model, route.resilience.breaker)
        if attempt is None:
            self._keeper.cancel()
            return False
        self._keeper.confirm()
        self._begin(attempt)
        return True

    def _limits_allow(self, route: Route[Upstream]) -> bool:
        """Return whether the upstream's own limits allow the request now. Raises LimitsUnavailable."""
        account, accountant = self._context.account, self._proxy.accountant
        return account is None or accountant is None or accountant.extend(route, account)

    def _begin(self, attempt: UpstreamAttempt) -> None:
        if self._attempt:
            self._attempt.close()
        self._attempt = attempt
        self._begun_s = self._context.meter.elapsed_s() if self._count else 0.0
        self._count += 1

    def _start_refused(self) -> Route[Upstream]:
        """Begin although no route is to be tried now: with a lone one, which is never refused, or with the one that is
        due first, in one request at a time. Raises UpstreamsUnavailable, UpstreamsLimited."""
        states = self._proxy.states
        gates = [(route, states.of(route.upstream.name)) for route in self._routes if self._limits_allow(route)]
        if self._queue.is_alone:
            route, gate = gates[0]
            self._hold_place(route)
            self._begin(gate.force(route.call.model, route.resilience.breaker))
            self._queue.start_at(route)
            return hurry(route)
        route, gate = min(gates, key=lambda pair: pair[1].reopens_in_s(pair[0].call.model))
        if attempt := gate.begin_early(route.call.model, route.resilience.breaker):
            self._begin(attempt)
            self._hold_place(route)
            self._queue.start_at(route)
            return hurry(route)
        wait_s = gate.reopens_in_s(route.call.model)
        if all(gate.is_cooling(route.call.model) for route, gate in gates):
            message = "All upstreams of this model limit the rate of requests; try again later."
            raise UpstreamsLimited(message, wait_s)
        raise UpstreamsUnavailable("All upstreams of this model have failed; try again later.", wait_s)

    def _hold_place(self, route: Route[Upstream]) -> None:
        """Wait for a place for an attempt that begins in any case. Raises UpstreamsFull, ClientGone."""
        self._keeper.wait([route])
        self._keeper.confirm()

    def _accept(self) -> None:
        """Note that content has come, or a whole reply: from now on each failure is final."""
        self._is_answered = self._is_settled = True
        self._queue.mark_content()
        if self._attempt:
            self._attempt.succeed()
        if self._queue.refused_form:
            self._proxy.refused_modes.learn(self._queue.refused_form, self._queue.current)

    def _count_failure(self, error: ProxyError, delay_s: float | None) -> FailureKind:
        kind, now_s = classify(error), self._context.meter.elapsed_s()
        if self._attempt and not self._is_answered:
            self._attempt.fail(kind, delay_s)
        self._is_answered = False
        self._failures = self._failures or FailureLog()
        upstream = self._queue.current.upstream.name
        self._failures.add(AttemptSummary(upstream, str(kind), now_s - self._begun_s))
        if kind is FailureKind.RATE_LIMITED:
            self._failures.add_limit(upstream, error, None if delay_s is None else now_s + delay_s, self._count)
        return kind

    def _has_time(self, wait_s: float = 0.0) -> bool:
        """Return whether another attempt after a wait can be of use."""
        return has_time(self._queue.current, self._context.meter.elapsed_s() + wait_s)

    def _allows(self, following: NextAttempt[Upstream]) -> bool:
        if not following.is_repeated:
            return True
        return self._has_time(following.wait_s) and self._proxy.states.of(following.route.upstream.name).take_retry()

    def _repeat(self, following: NextAttempt[Upstream]) -> None:
        """Begin another attempt at the same upstream when its time has come. Raises ClientGone while it waits."""
        until = time.monotonic() + following.wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._context.watch.wait(None, left_s)
        route = following.route
        gate, model, breaker = self._proxy.states.of(route.upstream.name), route.call.model, route.resilience.breaker
        self._begin(gate.begin(model, breaker) or gate.force(model, breaker))

    def _find_larger(self, model: str) -> Sequence[Route[Upstream]]:
        """Return the routes of the model for longer prompts, as far as they were not tried."""
        tried, account = {route.target for route in self._routes}, self._context.account
        routes = resolve_in_order(model, self._context.call, self._proxy.models, self._proxy.states)
        if account and account.counts_tokens:
            routes = [ask_usage(route) for route in routes]
        is_passthrough = self._queue.current.upstream.is_passthrough
        larger = [
            self._proxy.refused_modes.adapt(route)
            for route in routes
            if route.target not in tried and route.upstream.is_passthrough is is_passthrough
        ]
        self._routes += larger
        return larger
