"""How attempts are driven: which errors reach the client, what is held back, what is released and remembered."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast
from weakref import ref

import pytest

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    ProxyError,
    UpstreamProtocolError,
    UpstreamsLimited,
    UpstreamStatus,
    UpstreamsUnavailable,
    UpstreamUnreachable,
)
from argoproxy.pipeline.attempts import try_routes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.proxy import Proxy
from argoproxy.pipeline.shared.caches import RefusedModes
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides
from argoproxy.protocol.routing.attempt_time import FORCED_CONNECT_S
from argoproxy.protocol.routing.route import Provider, Route
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.protocol.stream.sse import Event
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState, UpstreamStates
from argoproxy.telemetry.outcome import Outcome, RequestInfo
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream
from tests.support.routes import MODE_REFUSED, routes_to

#: What an attempt yields, an error that it raises, or something to do.
Step = Any
NAMES = ("a", "b", "c")
ROLE = [Event.of({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})]
TEXT = [Event.of({"choices": [{"index": 0, "delta": {"content": "x"}}]})]
UNREACHABLE = UpstreamUnreachable("x")


class Shared:
    """As much of a Proxy as trying routes needs."""

    def __init__(self) -> None:
        self.refused_modes = RefusedModes(60.0)
        memory = SharedMemory(None)
        self.states = UpstreamStates({name: UpstreamState(name, memory.of(name, ())) for name in NAMES})
        rules = Rules((RuleSet("models", (Rule("large", upstreams=("c",), upstream_model_name="big"),)),))
        providers: list[Provider[Upstream]] = [Provider(DemoUpstream(name)) for name in NAMES]
        self.models = Models(providers, rules)
        self.places = None
        self.accountant = None

    def fail(self, name: str, kind: FailureKind, retry_after_s: float | None = None) -> None:
        """Have an upstream fail until it is left alone."""
        for _ in range(3):
            attempt = self.states.of(name).force("m", BreakerSettings(3, open_s=60))
            attempt.fail(kind, retry_after_s)
            attempt.close()


def limited(seconds: str, *headers: tuple[str, str]) -> UpstreamStatus:
    return UpstreamStatus(429, (("Retry-After", seconds), *headers), b"{}")


class Trial:
    """Tries routes; each attempt yields, raises or does what the next script says."""

    def __init__(
        self,
        chosen: list[Route[Upstream]],
        scripts: list[list[Step]],
        shared: Shared | None = None,
        client: socket.socket | None = None,
    ) -> None:
        self.taken: list[Route[Upstream]] = []
        self.outcomes: list[Outcome] = []
        watch = Watch(client, Poller())
        info = RequestInfo("id", "", "POST", "/x", "/x")
        meter = ResponseMeter(watch, time.monotonic, 0)
        self.context = RequestContext(info, watch, meter, [self.outcomes.append])
        self.context.set_call(chosen[0].call)
        self.steps = try_routes(chosen, self.script(scripts), cast(Proxy, shared or Shared()), self.context)

    def script(self, scripts: list[list[Step]]) -> Callable[[Route[Upstream]], Iterator[Step]]:
        def attempt(route: Route[Upstream]) -> Iterator[Step]:
            self.taken.append(route)
            for step in scripts.pop(0):
                if isinstance(step, Exception):
                    raise step
                yield f"{route.upstream.name}{step}" if step and isinstance(step, str) else step

        return attempt

    @property
    def names(self) -> list[str]:
        return [route.upstream.name for route in self.taken]

    def error(self) -> ProxyError:
        with pytest.raises(ProxyError) as raised:
            list(self.steps)
        return raised.value

    def outcome(self) -> Outcome:
        self.context.close()
        return self.outcomes[0]

    @property
    def headers(self) -> Headers:
        return self.context.attempts.headers if self.context.attempts else ()


def drive(chosen: list[Route[Upstream]], scripts: list[list[Step]], shared: Shared | None = None) -> Iterator[Step]:
    return Trial(chosen, scripts, shared).steps


def test_silence_before_a_failure_does_not_settle_the_route() -> None:
    steps = drive(routes_to("a", "b"), [["", "", UNREACHABLE], ["", "1", "2"]])
    assert list(steps) == ["", "", "", "b1", "b2"]


def test_fallback_mid_stream() -> None:
    """A failure after content is the client's: two answers are never joined."""
    steps = drive(routes_to("a", "b"), [["1", UNREACHABLE], ["2"]])
    assert next(steps) == "a1"
    with pytest.raises(UpstreamUnreachable):
        next(steps)


def test_a_client_that_leaves_ends_all_attempts() -> None:
    scripts: list[list[Step]] = [[ClientGone()], ["2"]]
    with pytest.raises(ClientGone):
        next(drive(routes_to("a", "b"), scripts))
    assert scripts == [["2"]]


def test_the_last_failure_is_the_one_that_is_raised() -> None:
    trial = Trial(routes_to("a", "b"), [[UNREACHABLE], [UpstreamProtocolError("y")]])
    assert isinstance(trial.error(), UpstreamProtocolError)


def test_a_reply_without_data_is_complete() -> None:
    assert list(drive(routes_to("a"), [["", ""]])) == ["", ""]


def test_a_refused_mode_is_remembered_only_when_the_other_one_is_accepted() -> None:
    shared = Shared()
    with pytest.raises(UpstreamStatus):
        list(drive(routes_to("a", stream=True), [[MODE_REFUSED], [UpstreamStatus(500, (), b"")]], shared))
    accepted = Trial(routes_to("a", stream=True), [[MODE_REFUSED], ["1"]], shared)
    assert (list(accepted.steps), accepted.headers) == (["a1"], ())
    assert list(drive(routes_to("a", stream=True), [["1"]], shared)) == ["a1"]
    (route,) = routes_to("a", stream=True)
    assert not shared.refused_modes.adapt(route).call.stream


def test_what_comes_before_content_is_held_back_while_there_is_a_spare() -> None:
    """Of a discarded attempt nothing reaches the client, nor what counts and records its answer."""
    steps = drive(routes_to("a", "b"), [[ROLE, [], ROLE, UpstreamProtocolError("cut")], [ROLE, TEXT]])
    assert list(steps) == [[], ROLE, TEXT]
    steps = drive(routes_to("a", "b"), [[ROLE, [], TEXT, UNREACHABLE]])
    assert [next(steps) for _ in range(3)] == [[], ROLE, TEXT]
    with pytest.raises(UpstreamUnreachable):
        next(steps)


def test_nothing_is_held_back_without_a_spare() -> None:
    wish = (("X-No-Fallback", "true"),)
    unwilling = [replace(route, call=replace(route.call, headers=wish)) for route in routes_to("a", "b")]
    for chosen in (routes_to("a"), unwilling):
        assert next(drive(chosen, [[ROLE, TEXT]])) is ROLE


def test_error_as_first_event() -> None:
    """Bytes that a client gets as they are: an error in place of content is a failure while there is a spare."""
    event = b'data: {"error": {"message": "busy", "code": 503}}\n\n'
    trial = Trial(routes_to("a", "b"), [[b"", event], [b"", event]])
    trial.context.reply_headers = (("Content-Type", "text/event-stream"),)
    assert list(trial.steps) == [b"", event]
    assert trial.names == ["a", "b"]


def test_a_lone_upstream_is_asked_twice_if_it_can_not_be_connected() -> None:
    trial = Trial(routes_to("a"), [[UNREACHABLE], ["1"]])
    assert (list(trial.steps), trial.names) == (["a1"], ["a", "a"])
    assert trial.headers == (("X-Upstream", "a"), ("X-Attempts", "2"))
    assert Trial(routes_to("a"), [[UNREACHABLE], [UNREACHABLE]]).error() is UNREACHABLE


def test_retry_after_is_waited_for() -> None:
    trial = Trial(routes_to("a"), [[limited("0")], ["1"]])
    assert list(trial.steps) == ["a1"]
    begun = time.monotonic()
    trial = Trial(routes_to("a"), [[limited("0.2")], ["1"]])
    assert list(trial.steps) == ["a1"]
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("header", [("x-should-retry", "false"), ("retry-after-ms", "60000")])
def test_an_upstream_that_wants_no_retry_gets_none(header: tuple[str, str]) -> None:
    error = limited("0", header)
    trial = Trial(routes_to("a"), [[error]])
    assert (trial.error(), trial.names) == (error, ["a"])


def test_a_wait_never_outlasts_the_request() -> None:
    (route,) = routes_to("a")
    hasty = replace(route, timeouts=Timeouts(total_s=0.5))
    impatient = replace(route, call=replace(route.call, headers=(("x-stainless-read-timeout", "1"),)))
    for one in (hasty, impatient):
        trial = Trial([one], [[limited("1")]])
        assert (trial.error().status, trial.names) == (429, ["a"])


def test_later_attempts_share_the_total_time() -> None:
    routes = [replace(route, timeouts=Timeouts(total_s=60)) for route in routes_to("a", "b")]
    trial = Trial(routes, [[UNREACHABLE], ["1"]])
    assert list(trial.steps) == ["b1"]
    assert trial.taken[0].timeouts.total_s == 60
    assert trial.taken[1].timeouts.total_s < 60


def test_retry_after_lost() -> None:
    """When all fail and one only asked to wait, that is told, with the soonest time."""
    trial = Trial(routes_to("a", "b", "c"), [[limited("50")], [limited("9")], [UpstreamStatus(500, (), b"x")]])
    error = trial.error()
    assert (error.status, dict(error.headers)["Retry-After"]) == (429, "9")
    last = limited("5", ("retry-after-ms", "5000"))
    assert Trial(routes_to("a", "b"), [[limited("60")], [last]]).error() is last
    unknown = Trial(routes_to("a", "b"), [[UpstreamStatus(429, (), b"x")], [UNREACHABLE]]).error()
    assert (unknown.status, unknown.headers) == (429, ())


def test_retry_after_stale() -> None:
    """What an upstream said before counts no more when it has said something else; nor does it after content."""
    last = limited("7")
    trial = Trial(routes_to("a"), [[limited("0")], [last]])
    assert trial.error() is last
    broken = UpstreamProtocolError("cut")
    assert Trial(routes_to("a", "b"), [[limited("50")], ["1", broken]]).error() is broken


def test_client_gone_while_retrying() -> None:
    """A client that leaves ends the wait for a retry, and everything else, at once."""
    ours, theirs = socket.socketpair()
    patient = ResilienceOverrides(retry_wait_s=1000)
    (route,) = routes_to("a")
    chosen = [replace(route, resilience=route.resilience.override(patient))]
    trial = Trial(chosen, [[limited("900")]], client=ours)
    theirs.close()
    with ours, pytest.raises(ClientGone):
        list(trial.steps)
    assert trial.names == ["a"]


def test_refusals_of_the_proxy_are_final() -> None:
    trial = Trial(routes_to("a", "b"), [[BadRequest("wrong")]])
    assert (trial.error().status, trial.names) == (400, ["a"])


def test_an_upstream_that_is_left_alone_is_passed_over() -> None:
    shared = Shared()
    shared.fail("a", FailureKind.SERVER_ERROR)
    trial = Trial(routes_to("a", "b"), [["1"]], shared)
    assert list(trial.steps) == ["b1"]
    assert trial.headers == (("X-Upstream", "b"), ("X-Attempts", "1"), ("X-Fallback", "true"))


def test_lone_upstream_dead() -> None:
    """It is never refused: each request asks it once, and does not wait long for a connection."""
    shared = Shared()
    shared.fail("a", FailureKind.CONNECT)
    trial = Trial(routes_to("a"), [[UNREACHABLE]], shared)
    assert (trial.error(), trial.names, trial.headers) == (UNREACHABLE, ["a"], ())
    assert trial.taken[0].timeouts.connect_s == FORCED_CONNECT_S


def test_all_open() -> None:
    """One request at a time asks the upstream that is due first; the others are told when to come again."""
    shared = Shared()
    shared.fail("a", FailureKind.SERVER_ERROR)
    shared.fail("b", FailureKind.SERVER_ERROR, 90)
    assert Trial(routes_to("a", "b"), [], shared).error().status == 503
    for state in shared.states:
        state.clock = lambda: time.monotonic() + 6
    waiting = Trial(routes_to("a", "b"), [["", "1"]], shared)
    assert next(waiting.steps) == ""
    refused = Trial(routes_to("a", "b"), [], shared)
    error = refused.error()
    assert isinstance(error, UpstreamsUnavailable)
    assert (error.status, int(dict(error.headers)["Retry-After"]) >= 1) == (503, True)
    assert refused.headers == (("X-Attempts", "0"),)


def test_all_cooling_down() -> None:
    shared = Shared()
    shared.fail("a", FailureKind.RATE_LIMITED, 50)
    shared.fail("b", FailureKind.RATE_LIMITED, 30)
    error = Trial(routes_to("a", "b"), [], shared).error()
    assert isinstance(error, UpstreamsLimited)
    assert error.status == 429
    assert 0 < int(dict(error.headers)["Retry-After"]) <= 30


def test_fallback_smaller_window() -> None:
    """A prompt that is too long goes to the model that the rule names, under that model's own rule."""
    too_long = UpstreamStatus(400, (), json.dumps({"error": {"code": "context_length_exceeded"}}).encode())
    larger = ResilienceOverrides(context_fallback="large")
    chosen = [replace(route, resilience=route.resilience.override(larger)) for route in routes_to("a", "b")]
    trial = Trial(chosen, [[too_long], ["1"]])
    assert list(trial.steps) == ["c1"]
    assert trial.taken[1].call.model == "big"
    assert trial.taken[1].call.requested_model == chosen[0].call.requested_model
    trial = Trial(chosen, [[too_long], [too_long]])
    assert (trial.error(), trial.names) == (too_long, ["a", "c"])
    assert (Trial(routes_to("a", "b"), [[too_long]]).error()) is too_long


def test_fallback_charged_twice() -> None:
    """A request has one outcome, with each of its attempts."""
    trial = Trial(routes_to("a", "b"), [[limited("60")], ["1"]])
    assert list(trial.steps) == ["b1"]
    attempts = trial.outcome().attempts
    assert [(one.upstream, one.failure) for one in attempts] == [("a", "rate_limited"), ("b", "")]
    assert all(one.seconds >= 0 for one in attempts)
    assert str(attempts[0]).startswith("a:rate_limited:")
    single = Trial(routes_to("a", "b"), [["1"]])
    assert (list(single.steps), len(single.outcome().attempts)) == (["a1"], 1)
    broken = Trial(routes_to("a", "b"), [[UNREACHABLE], ["1", UpstreamProtocolError("cut")]])
    broken.error()
    assert [one.failure for one in broken.outcome().attempts] == ["connect", "broken"]


def test_slots_are_given_back() -> None:
    shared = Shared()
    trial = Trial(routes_to("a", "b"), [[UNREACHABLE], ["1"]], shared)
    assert next(trial.steps) == "b1"
    assert [shared.states.of(name).open_streams() for name in ("a", "b")] == [0, 1]
    trial.context.close()
    assert shared.states.of("b").open_streams() == 0


def test_nothing_of_a_request_waits_for_the_garbage_collector() -> None:
    """Bodies are large: what a request holds is freed when it is closed."""
    gc.collect()
    gc.disable()
    try:
        trial = Trial(routes_to("a", "b"), [["1"]])
        assert list(trial.steps) == ["a1"]
        trial.outcome()
        context = ref(trial.context)
        del trial
        assert context() is None
    finally:
        gc.enable()
