"""Which route is tried after which failure: every row of the table of `RouteQueue`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from argoproxy.errors import ConnectTimeout, ProxyError, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from argoproxy.protocol.routing.modes import Usage
from argoproxy.protocol.routing.route_queue import RouteQueue
from tests.support.routes import MODE_REFUSED, routes_to

USAGE_REFUSED = UpstreamStatus(422, (), b'{"detail": [{"loc": ["body", "stream_options"]}]}')
NOTHING_SENT = [UpstreamUnreachable("refused"), ConnectTimeout("late")]
WORK_MAY_BE_DONE = [UpstreamTimeout("silent", code="first_byte_timeout"), UpstreamStatus(503, (), b"{}")]


@pytest.mark.parametrize("error", NOTHING_SENT)
def test_the_next_route_follows_where_nothing_was_sent(error: ProxyError) -> None:
    first, second = routes_to("one", "two")
    queue = RouteQueue([first, second])
    assert queue.current is first
    assert queue.next_after(error) is second
    assert queue.current is second
    assert queue.refused_form is None
    assert queue.next_after(error) is None
    assert queue.current is second


@pytest.mark.parametrize("error", WORK_MAY_BE_DONE)
def test_nothing_follows_where_the_upstream_may_have_done_the_work(error: ProxyError) -> None:
    assert RouteQueue(routes_to("one", "two")).next_after(error) is None


@pytest.mark.parametrize("error", [*NOTHING_SENT, *WORK_MAY_BE_DONE, MODE_REFUSED, USAGE_REFUSED])
def test_nothing_follows_once_data_came(error: ProxyError) -> None:
    queue = RouteQueue(routes_to("one", "two", stream=True, usage=Usage.ALWAYS))
    queue.mark_data()
    assert queue.next_after(error) is None


def test_a_refused_mode_is_followed_by_the_other_one_once() -> None:
    (route,) = routes_to("one", stream=True)
    queue = RouteQueue([route])
    other = queue.next_after(MODE_REFUSED)
    assert other
    assert (other.upstream, other.call.stream, other.call.wants_document) == (route.upstream, False, False)
    assert queue.refused_form is route
    assert queue.next_after(MODE_REFUSED) is None


def test_refused_stream_options_are_left_out_where_the_client_did_not_send_them() -> None:
    (route,) = routes_to("one", stream=True, usage=Usage.ALWAYS)
    assert route.call.include_usage
    queue = RouteQueue([route])
    other = queue.next_after(USAGE_REFUSED)
    assert other
    assert (other.call.stream, other.call.include_usage, queue.refused_form) == (True, False, route)
    (own,) = routes_to("one", stream=True, stream_options={"include_usage": True})
    assert RouteQueue([own]).next_after(USAGE_REFUSED) is None


def test_another_route_forgets_what_the_one_before_refused() -> None:
    first, second = routes_to("one", "two", stream=True)
    queue = RouteQueue([first, second])
    queue.next_after(MODE_REFUSED)
    assert queue.next_after(NOTHING_SENT[0]) is second
    assert queue.refused_form is None
    assert queue.next_after(MODE_REFUSED) == second.in_other_mode()


def test_each_route_and_form_is_tried_at_most_once() -> None:
    queue = RouteQueue(routes_to("one", "two", "three", stream=True, usage=Usage.ALWAYS))
    tried = [queue.current]
    failures = [MODE_REFUSED, NOTHING_SENT[0]] * 10
    tried += [route for error in failures if (route := queue.next_after(error))]
    forms = [(route.upstream.name, route.call.stream) for route in tried]
    assert forms == [(name, stream) for name in ("one", "two", "three") for stream in (True, False)]


def test_a_route_without_another_mode_has_none_to_follow() -> None:
    (route,) = routes_to("one", stream=True)
    assert RouteQueue([replace(route, other_mode=None)]).next_after(MODE_REFUSED) is None
