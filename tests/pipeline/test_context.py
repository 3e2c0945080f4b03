"""What one request comes to: its outcome, the replies that it releases, the listeners that get it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from argoproxy.errors import BadRequest, Ending, UpstreamTimeout
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.routing.router import Models
from argoproxy.telemetry.outcome import Outcome, RequestInfo
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream

INFO = RequestInfo("id-1", "", "POST", "/v1/chat/completions", "/v1/chat/completions")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Reply:
    status = 201
    headers = (("A", "b"),)

    def __init__(self) -> None:
        self.let_go: list[str] = []

    def iter_bytes(self) -> Iterator[bytes]:
        return iter(())

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return b""

    def release_when_done(self) -> None:
        self.let_go.append("settled")

    def close(self) -> None:
        self.let_go.append("closed")


def start(info: RequestInfo = INFO, heartbeat_s: float = 5) -> tuple[RequestContext, Clock, list[Outcome]]:
    clock, outcomes = Clock(), list[Outcome]()
    watch = Watch(None, Poller())
    meter = ResponseMeter(watch, clock, heartbeat_s)
    return RequestContext(info, watch, meter, [outcomes.append]), clock, outcomes


def test_a_request_has_one_outcome() -> None:
    context, clock, outcomes = start()
    reply = Reply()
    context.set_model("m")
    context.add_reply(reply)
    context.record_usage({"prompt_tokens": 1})
    context.record_usage({"prompt_tokens": 3, "completion_tokens": "odd"})
    context.set_status(200)
    clock.now += 1
    context.meter.add_bytes(10)
    clock.now += 1
    context.meter.add_bytes(5)
    context.set_ending(Ending.COMPLETE)
    context.set_ending(Ending.CLIENT_GONE)
    context.close()
    context.close()
    assert reply.let_go == ["settled"]
    assert (context.reply_status, context.reply_headers) == (201, (("A", "b"),))
    (outcome,) = outcomes
    assert outcome == Outcome(
        id="id-1",
        client_request_id="",
        method="POST",
        route="/v1/chat/completions",
        path="/v1/chat/completions",
        model="m",
        upstream="",
        key="",
        send_mode="",
        return_mode="",
        status=200,
        ending=Ending.COMPLETE,
        code=None,
        first_byte_s=1,
        overhead_s=1,
        total_s=2,
        bytes_sent=15,
        prompt_tokens=3,
        completion_tokens=None,
    )


def test_the_outcome_names_the_key_and_how_the_answer_was_wanted() -> None:
    demo: Upstream = DemoUpstream()
    for stream, mode in ((True, "stream"), (False, "non_stream")):
        context, _, outcomes = start()
        context.key_name = "team"
        call = Call("id", 1, "", "", (), {"model": "m", "stream": stream}, b"", requested_model="m")
        context.set_call(call)
        context.set_route(Models([Provider(demo)]).resolve(call)[0])
        context.close()
        assert (outcomes[0].key, outcomes[0].return_mode, outcomes[0].model) == ("team", mode, "m")


def test_overhead_is_the_time_without_waiting() -> None:
    context, clock, outcomes = start()
    clock.now += 1
    context.watch.add_wait_since(time.monotonic() - 0.75)
    context.meter.add_bytes(1)
    context.watch.add_wait_since(time.monotonic() - 100)
    context.meter.add_bytes(1)
    context.close()
    assert outcomes[0].overhead_s == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("method", "status", "ending"),
    [("GET", 200, "client_gone"), ("HEAD", 200, "complete"), ("GET", 204, "complete"), ("GET", 304, "complete")],
)
def test_a_context_closed_without_an_ending(method: str, status: int, ending: str) -> None:
    context, _, outcomes = start(RequestInfo("id", "", method, "/x", "/x"))
    reply = Reply()
    context.add_reply(reply)
    context.set_status(status)
    context.close()
    assert outcomes[0].ending == ending
    assert reply.let_go == ["settled" if ending == "complete" else "closed"]


def test_a_discarded_attempt_is_closed_at_once() -> None:
    context, _, _ = start()
    failed, good = Reply(), Reply()
    context.add_reply(failed)
    context.discard_attempt(UpstreamTimeout("slow"))
    assert failed.let_go == ["closed"]
    context.add_reply(good)
    context.set_ending(Ending.COMPLETE)
    context.close()
    assert (failed.let_go, good.let_go) == (["closed"], ["settled"])


def test_a_failure_sets_ending_and_code() -> None:
    context, _, outcomes = start()
    context.record_failure(UpstreamTimeout("slow", code="idle_timeout"))
    context.record_failure(BadRequest("later"))
    context.close()
    assert (outcomes[0].ending, outcomes[0].code) == ("upstream_timeout", "idle_timeout")


def test_a_crash_is_internal() -> None:
    context, _, outcomes = start()
    error = context.record_crash(ValueError("secret words"))
    context.close()
    assert "secret words" not in error.message
    assert "id-1" in error.message
    assert (outcomes[0].ending, outcomes[0].code) == ("internal", "internal_error")


@pytest.mark.parametrize("failure", [ValueError("broken"), SystemExit(3)])
def test_a_listener_that_fails_does_not_stop_the_others(failure: BaseException) -> None:
    received: list[Outcome] = []

    def broken(outcome: Outcome) -> None:
        raise failure

    context, _, _ = start()
    context.add_listener(broken)
    context.add_listener(received.append)
    context.close()
    assert len(received) == 1


def test_a_heartbeat_is_due_when_nothing_was_sent_for_long() -> None:
    context, clock, _ = start(heartbeat_s=5)
    assert not context.is_heartbeat_due()
    clock.now += 5
    assert context.is_heartbeat_due()
    context.meter.add_bytes(1)
    assert not context.is_heartbeat_due()
    off, clock, _ = start(heartbeat_s=0)
    clock.now += 1000
    assert not off.is_heartbeat_due()


def test_the_proxys_own_answer_has_no_upstream_head() -> None:
    context, _, _ = start()
    context.add_reply(Reply())
    context.clear_reply_head()
    assert (context.reply_status, context.reply_headers) == (200, ())
