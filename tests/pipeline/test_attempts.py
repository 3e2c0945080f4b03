"""How attempts are driven: which errors reach the client, and what is released and remembered on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

import pytest

from argoproxy.errors import ClientGone, UpstreamProtocolError, UpstreamStatus, UpstreamUnreachable
from argoproxy.pipeline.attempts import try_routes
from argoproxy.pipeline.caches import RefusedModes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.proxy import Proxy
from argoproxy.pipeline.response_meter import ResponseMeter
from argoproxy.protocol.routing.route import Route
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState, UpstreamStates
from argoproxy.telemetry.outcome import RequestInfo
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from tests.support.routes import MODE_REFUSED, routes_to

Step = str | Exception
NAMES = ("a", "b", "c")


class Shared:
    """As much of a Proxy as trying routes needs."""

    def __init__(self) -> None:
        self.refused_modes = RefusedModes(60.0)
        memory = SharedMemory(None)
        self.states = UpstreamStates({name: UpstreamState(name, memory.of(name, ())) for name in NAMES})


def drive(chosen: list[Route[Upstream]], scripts: list[list[Step]], shared: Shared | None = None) -> Iterator[str]:
    """Try routes; each attempt yields, or raises, what the next script says."""
    watch = Watch(None, Poller())
    info = RequestInfo("id", "", "POST", "/x", "/x")
    context = RequestContext(info, watch, ResponseMeter(watch, time.monotonic, 0), ())

    def attempt(route: Route[Upstream]) -> Iterator[str]:
        for step in scripts.pop(0):
            if isinstance(step, Exception):
                raise step
            yield f"{route.upstream.name}{step}" if step else ""

    return try_routes(chosen, attempt, cast(Proxy, shared or Shared()), context)


def test_silence_before_a_failure_does_not_settle_the_route() -> None:
    steps = drive(routes_to("a", "b"), [["", "", UpstreamUnreachable("x")], ["", "1", "2"]])
    assert list(steps) == ["", "", "", "b1", "b2"]


def test_a_failure_after_data_is_raised() -> None:
    steps = drive(routes_to("a", "b"), [["1", UpstreamUnreachable("x")], ["2"]])
    assert next(steps) == "a1"
    with pytest.raises(UpstreamUnreachable):
        next(steps)


def test_a_client_that_leaves_ends_all_attempts() -> None:
    scripts: list[list[Step]] = [[ClientGone()], ["2"]]
    with pytest.raises(ClientGone):
        next(drive(routes_to("a", "b"), scripts))
    assert scripts == [["2"]]


def test_the_last_failure_is_the_one_that_is_raised() -> None:
    with pytest.raises(UpstreamProtocolError):
        next(drive(routes_to("a", "b"), [[UpstreamUnreachable("x")], [UpstreamProtocolError("y")]]))


def test_a_reply_without_data_is_complete() -> None:
    assert list(drive(routes_to("a"), [["", ""]])) == ["", ""]


def test_a_refused_mode_is_remembered_only_when_the_other_one_is_accepted() -> None:
    shared = Shared()
    with pytest.raises(UpstreamStatus):
        list(drive(routes_to("a", stream=True), [[MODE_REFUSED], [UpstreamStatus(500, (), b"")]], shared))
    assert list(drive(routes_to("a", stream=True), [[MODE_REFUSED], ["1"]], shared)) == ["a1"]
    assert list(drive(routes_to("a", stream=True), [["1"]], shared)) == ["a1"]
    (route,) = routes_to("a", stream=True)
    assert not shared.refused_modes.adapt(route).call.stream
