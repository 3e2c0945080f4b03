"""Which route is tried after which failure: every row of the table of `RouteQueue`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import (
    BadRequest,
    ConnectTimeout,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from argoproxy.protocol.resilience.failures import classify
from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Usage
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.routing.route_queue import LONGEST_KEPT, AttemptLimits, FailedAttempt, NextAttempt, RouteQueue
from argoproxy.upstreams import Upstream
from tests.support.routes import MODE_REFUSED, routes_to

NO_LIMITS = AttemptLimits()
USAGE_REFUSED = UpstreamStatus(422, (), b'{"detail": [{"loc": ["body", "stream_options"]}]}')
UNREACHABLE = UpstreamUnreachable("refused")
TOO_LONG = UpstreamStatus(400, (), b'{"error": {"code": "context_length_exceeded"}}')
LIMITED = UpstreamStatus(429, (), b"{}")
PASSING = [
    UNREACHABLE,
    ConnectTimeout("late"),
    UpstreamTimeout("silent", code="first_byte_timeout"),
    UpstreamProtocolError("cut"),
    LIMITED,
    *(UpstreamStatus(status, (), b"{}") for status in (500, 502, 503, 504, 529)),
]
LASTING = [
    *(UpstreamStatus(status, (), b"{}") for status in (400, 401, 403, 404, 408, 409, 422, 501)),
    TOO_LONG,
    BadRequest("wrong"),
    UpstreamTimeout("over", code="total_timeout"),
]


def failure(error: ProxyError, retry_after_s: float | None = None) -> FailedAttempt:
    return FailedAttempt(error, classify(error), retry_after_s)


def started(routes: list[Route[Upstream]], limits: AttemptLimits = NO_LIMITS) -> RouteQueue[Upstream]:
    queue = RouteQueue(routes, limits)
    assert queue.start() is routes[0]
    return queue


@pytest.mark.parametrize("error", PASSING)
def test_the_next_route_follows_a_failure_that_may_pass(error: ProxyError) -> None:
    first, second = routes_to("one", "two")
    queue = started([first, second])
    assert queue.has_spare
    assert queue.next_after(failure(error)) == NextAttempt(second)
    assert (queue.current, queue.refused_form, queue.has_spare) == (second, None, False)
    assert queue.next_after(failure(error)) is None
    assert queue.current is second


@pytest.mark.parametrize("error", LASTING)
def test_nothing_follows_what_another_upstream_would_refuse_too(error: ProxyError) -> None:
    assert started(routes_to("one", "two")).next_after(failure(error)) is None


@pytest.mark.parametrize("error", [*PASSING, *LASTING, MODE_REFUSED, USAGE_REFUSED])
def test_nothing_follows_once_content_came(error: ProxyError) -> None:
    queue = started(routes_to("one", "two", stream=True, usage=Usage.ALWAYS))
    queue.mark_content()
    assert queue.other_form(error) is None
    assert queue.next_after(failure(error, 0)) is None


def test_fallback_on_decides_for_its_route() -> None:
    first, second, third = routes_to("one", "two", "three")
    strict = replace(first, resilience=first.resilience.override(ResilienceOverrides(fallback_on=("connect",))))
    queue = started([strict, second, third])
    assert queue.next_after(failure(PASSING[-1])) is None
    assert queue.next_after(failure(UNREACHABLE)) == NextAttempt(second)
    never = replace(first, resilience=first.resilience.override(ResilienceOverrides(fallback_on=())))
    assert not started([never, second]).has_spare


def test_a_route_that_is_not_admitted_is_passed_over() -> None:
    routes = routes_to("one", "two", "three", "four")
    shut = {"one", "three"}
    queue = RouteQueue(routes, admits=lambda route: route.upstream.name not in shut)
    assert queue.start() is routes[1]
    assert queue.next_after(failure(UNREACHABLE)) == NextAttempt(routes[3])
    assert queue.next_after(failure(UNREACHABLE)) is None
    shut |= {"two", "four"}
    queue = RouteQueue(routes, admits=lambda route: route.upstream.name not in shut)
    assert queue.start() is None
    queue.start_at(routes[2])
    assert (queue.current, queue.next_after(failure(LIMITED, 0))) == (routes[2], None)


def test_a_lone_route_is_tried_once_more_if_no_connection_was_made() -> None:
    (route,) = routes_to("one")
    queue = started([route])
    assert queue.next_after(failure(UNREACHABLE)) == NextAttempt(route, 0.0, is_repeated=True)
    assert queue.next_after(failure(UNREACHABLE)) is None
    assert started([route]).next_after(failure(ConnectTimeout("late"))) is None
    first, second = routes_to("one", "two")
    queue = started([first, second])
    queue.next_after(failure(UNREACHABLE))
    assert queue.next_after(failure(UNREACHABLE)) is None


def test_a_rate_limit_is_waited_for_if_nothing_else_is_left() -> None:
    first, second = routes_to("one", "two")
    queue = started([first, second])
    assert queue.next_after(failure(LIMITED, 1)) == NextAttempt(second)
    assert queue.next_after(failure(LIMITED, 1.5)) == NextAttempt(second, 1.5, is_repeated=True)
    assert queue.next_after(failure(LIMITED, 0)) is None
    assert started([first]).next_after(failure(LIMITED, 2.5)) is None
    assert started([first]).next_after(failure(LIMITED)) is None
    patient = replace(first, resilience=first.resilience.override(ResilienceOverrides(retry_wait_s=3)))
    assert started([patient]).next_after(failure(LIMITED, 2.5)) == NextAttempt(patient, 2.5, is_repeated=True)


def test_fallback_smaller_window() -> None:
    """A prompt that is too long goes to the model for longer ones, once, and to no spare."""
    first, second, large, larger = routes_to("one", "two", "large", "larger")
    context = ResilienceOverrides(context_fallback="big")
    first, large = (replace(one, resilience=one.resilience.override(context)) for one in (first, large))
    asked: list[str] = []

    def find_larger(model: str) -> list[Route[Upstream]]:
        asked.append(model)
        return [large, larger]

    queue = RouteQueue([first, second], find_larger=find_larger)
    queue.start()
    assert queue.next_after(failure(TOO_LONG)) == NextAttempt(large)
    assert queue.next_after(failure(TOO_LONG)) == NextAttempt(larger)
    assert queue.next_after(failure(TOO_LONG)) is None
    assert asked == ["big"]


def test_fallback_off() -> None:
    """A client can refuse all of it; what is too long to be kept, or a retry already, is not repeated either."""
    routes = routes_to("one", "two")
    call = routes[0].call
    for headers in ((("X-No-Fallback", "true"),),):
        limits = AttemptLimits.of(replace(call, headers=headers))
        queue = started(routes, limits)
        assert not queue.has_spare
        assert queue.next_after(failure(UNREACHABLE)) is None
    queue = RouteQueue(routes, AttemptLimits(may_fall_back=False), admits=lambda _: False)
    assert (queue.start(), queue.is_alone) == (None, True)


def test_routes_that_were_full_are_tried_when_they_have_room() -> None:
    first, second, third = routes_to("one", "two", "three")
    queue = RouteQueue([first, second, third], admits=lambda route: route is third)
    assert queue.start() is third
    queue.put_back([first, second])
    queue.go_to(first)
    assert (queue.current, queue.has_spare) == (first, True)


def test_nothing_follows_once_the_owner_has_let_go() -> None:
    first, second = routes_to("one", "two")
    queue = started([first, second])
    queue.detach()
    assert queue.next_after(failure(UNREACHABLE)) is None


def test_no_larger_model_is_found_once_the_owner_has_let_go() -> None:
    (first,) = routes_to("one")
    context = ResilienceOverrides(context_fallback="big")
    queue = started([replace(first, resilience=first.resilience.override(context))])
    queue.detach()
    assert queue.next_after(failure(TOO_LONG)) is None


def test_limits_of_a_call() -> None:
    (route,) = routes_to("one")
    call = route.call

    def allowed(call: Call) -> tuple[bool, bool]:
        limits = AttemptLimits.of(call)
        return limits.may_fall_back, limits.may_repeat

    assert allowed(call) == (True, True)
    assert allowed(replace(call, headers=(("x-stainless-retry-count", "0"),))) == (True, False)
    assert allowed(replace(call, raw=b" " * LONGEST_KEPT)) == (True, True)
    assert allowed(replace(call, raw=b" " * (LONGEST_KEPT + 1))) == (False, False)
    inexact = Call("id", 1, "/", "", (), {"model": "m", "input": " " * LONGEST_KEPT}, None)
    assert allowed(replace(call, origin=inexact)) == (False, False)


def test_what_an_sdk_repeats_is_not_repeated_but_may_go_elsewhere() -> None:
    first, second = routes_to("one", "two")
    limits = AttemptLimits(headers=(("X-Stainless-Retry-Count", "1"),))
    assert started([first], limits).next_after(failure(UNREACHABLE)) is None
    assert started([first, second], limits).next_after(failure(UNREACHABLE)) == NextAttempt(second)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from([*PASSING, *LASTING]), st.sampled_from([None, 0, 1, 9])), max_size=40),
)
def test_retry_multiplies(count: int, ends: list[tuple[ProxyError, float | None]]) -> None:
    """However attempts end, there are at most as many as routes, and one more; none but one is repeated."""
    routes = routes_to(*(f"u{number}" for number in range(count)))
    queue = started(routes)
    attempts = [queue.current]
    for error, retry_after_s in ends:
        following = queue.next_after(failure(error, retry_after_s))
        if following is None:
            break
        attempts.append(following.route)
    assert len(attempts) <= count + 1
    assert len(attempts) - len({route.upstream.name for route in attempts}) <= 1


def test_a_refused_mode_is_followed_by_the_other_one_once() -> None:
    (route,) = routes_to("one", stream=True)
    queue = started([route])
    other = queue.other_form(MODE_REFUSED)
    assert other
    assert (other.upstream, other.call.stream, other.call.wants_document) == (route.upstream, False, False)
    assert queue.refused_form is route
    assert queue.other_form(MODE_REFUSED) is None


def test_refused_stream_options_are_left_out_where_the_client_did_not_send_them() -> None:
    (route,) = routes_to("one", stream=True, usage=Usage.ALWAYS)
    assert route.call.include_usage
    queue = started([route])
    other = queue.other_form(USAGE_REFUSED)
    assert other
    assert (other.call.stream, other.call.include_usage, queue.refused_form) == (True, False, route)
    (own,) = routes_to("one", stream=True, stream_options={"include_usage": True})
    assert started([own]).other_form(USAGE_REFUSED) is None


def test_another_route_forgets_what_the_one_before_refused() -> None:
    first, second = routes_to("one", "two", stream=True)
    queue = started([first, second])
    queue.other_form(MODE_REFUSED)
    assert queue.next_after(failure(UNREACHABLE)) == NextAttempt(second)
    assert queue.refused_form is None
    assert queue.other_form(MODE_REFUSED) == second.in_other_mode()


def test_each_route_and_form_is_tried_at_most_once() -> None:
    queue = started(routes_to("one", "two", "three", stream=True, usage=Usage.ALWAYS))
    tried = [queue.current]
    for _ in range(10):
        if other := queue.other_form(MODE_REFUSED):
            tried.append(other)
        if following := queue.next_after(failure(UNREACHABLE)):
            tried.append(following.route)
    forms = [(route.upstream.name, route.call.stream) for route in tried]
    assert forms == [(name, stream) for name in ("one", "two", "three") for stream in (True, False)]


def test_a_route_without_another_mode_has_none_to_follow() -> None:
    (route,) = routes_to("one", stream=True)
    assert started([replace(route, other_mode=None)]).other_form(MODE_REFUSED) is None
