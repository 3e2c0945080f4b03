from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from argoproxy.errors import BadRequest, Ending, UpstreamTimeout
from argoproxy.pipeline.caches import SingleFlight
from argoproxy.pipeline.context import RequestContext
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.router import Models, Provider
from argoproxy.telemetry.access_log import AccessLog
from argoproxy.telemetry.outcome import Outcome, RequestInfo
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import Demo

ARRIVAL = RequestInfo("id-1", "", "POST", "/v1/chat/completions", "/v1/chat/completions")


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


def begun(arrival: RequestInfo = ARRIVAL, heartbeat_s: float = 5) -> tuple[RequestContext, Clock, list[Outcome]]:
    clock, outcomes = Clock(), list[Outcome]()
    return RequestContext(arrival, Watch(None, Poller()), clock, heartbeat_s, [outcomes.append]), clock, outcomes


def test_a_trip_comes_to_one_outcome() -> None:
    context, clock, outcomes = begun()
    reply = Reply()
    context.set_model("m")
    context.add_reply(reply)
    context.record_usage({"prompt_tokens": 1})
    context.record_usage({"prompt_tokens": 3, "completion_tokens": "odd"})
    context.set_status(200)
    clock.now += 1
    context.record_sent(10)
    clock.now += 1
    context.record_sent(5)
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


def test_a_trip_tells_whose_key_it_was_and_how_an_answer_was_asked_for() -> None:
    demo: Upstream = Demo()
    for stream, told in ((True, "stream"), (False, "non_stream")):
        context, _, outcomes = begun()
        context.set_key_name("team")
        call = Call("id", 1, "", "", (), {"model": "m", "stream": stream}, b"", requested_model="m")
        context.set_call(call)
        context.set_route(Models([Provider(demo)]).resolve(call)[0])
        context.close()
        assert (outcomes[0].key, outcomes[0].return_mode, outcomes[0].model) == ("team", told, "m")


def test_overhead_is_what_nobody_was_waited_for() -> None:
    context, clock, outcomes = begun()
    clock.now += 1
    context.watch.add_wait_since(time.monotonic() - 0.75)
    context.record_sent(1)
    context.watch.add_wait_since(time.monotonic() - 100)
    context.record_sent(1)
    context.close()
    assert outcomes[0].overhead_s == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("method", "status", "ending"),
    [("GET", 200, "client_gone"), ("HEAD", 200, "complete"), ("GET", 204, "complete"), ("GET", 304, "complete")],
)
def test_a_trip_closed_with_no_ending(method: str, status: int, ending: str) -> None:
    context, _, outcomes = begun(RequestInfo("id", "", method, "/x", "/x"))
    reply = Reply()
    context.add_reply(reply)
    context.set_status(status)
    context.close()
    assert outcomes[0].ending == ending
    assert reply.let_go == ["settled" if ending == "complete" else "closed"]


def test_what_failed_on_another_way_is_let_go_at_once() -> None:
    context, _, _ = begun()
    failed, good = Reply(), Reply()
    context.add_reply(failed)
    context.discard_attempt(UpstreamTimeout("slow"))
    assert failed.let_go == ["closed"]
    context.add_reply(good)
    context.set_ending(Ending.COMPLETE)
    context.close()
    assert (failed.let_go, good.let_go) == (["closed"], ["settled"])


def test_a_failure_tells_its_ending_and_code() -> None:
    context, _, outcomes = begun()
    context.record_failure(UpstreamTimeout("slow", code="idle_timeout"))
    context.record_failure(BadRequest("later"))
    context.close()
    assert (outcomes[0].ending, outcomes[0].code) == ("upstream_timeout", "idle_timeout")


def test_a_crash_is_internal() -> None:
    context, _, outcomes = begun()
    told = context.record_crash(ValueError("secret words"))
    context.close()
    assert "secret words" not in told.message
    assert "id-1" in told.message
    assert (outcomes[0].ending, outcomes[0].code) == ("internal", "internal_error")


@pytest.mark.parametrize("failure", [ValueError("broken"), SystemExit(3)])
def test_a_listener_that_fails_is_nobodys_problem(failure: BaseException) -> None:
    heard: list[Outcome] = []

    def broken(outcome: Outcome) -> None:
        raise failure

    context = RequestContext(ARRIVAL, Watch(None, Poller()), Clock(), 5, [broken, heard.append])
    context.close()
    assert len(heard) == 1


def test_a_heartbeat_is_due_when_nothing_was_sent_for_long() -> None:
    context, clock, _ = begun(heartbeat_s=5)
    assert not context.is_heartbeat_due()
    clock.now += 5
    assert context.is_heartbeat_due()
    context.record_sent(1)
    assert not context.is_heartbeat_due()
    off, clock, _ = begun(heartbeat_s=0)
    clock.now += 1000
    assert not off.is_heartbeat_due()


def test_an_answer_of_ours_forgets_the_upstreams_head() -> None:
    context, _, _ = begun()
    context.add_reply(Reply())
    context.clear_reply_head()
    assert (context.reply_status, context.reply_headers) == (200, ())


def line(**changed: Any) -> str:
    given: dict[str, Any] = dict.fromkeys(Outcome.__slots__)
    given |= {"id": "i", "client_request_id": "", "method": "GET", "route": "/x", "path": "/x", "model": ""}
    given |= {"upstream": "u", "status": 200, "ending": Ending.COMPLETE, "total_s": 0.0123, "bytes_sent": 0, **changed}
    read, write = os.pipe()
    AccessLog(partial(os.write, write))(Outcome(**given))
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as told:
        return told.read()


def test_a_log_line_has_the_fields_that_are_known() -> None:
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z request "
        r"id=i method=GET route=/x upstream=u status=200 ending=complete total_ms=12\.3 bytes_sent=0\n"
    )
    assert re.fullmatch(pattern, line())


def test_a_log_line_can_not_be_broken_by_what_clients_send() -> None:
    odd = 'a b\n"c"\u2028\ud800 ' + "x" * 1000
    told = line(model=odd, client_request_id="r 1", path="/y", first_byte_s=1.0, prompt_tokens=7)
    assert told.count("\n") == 1
    assert told.isascii()
    assert f"model={json.dumps(odd[:200])}" in told
    assert 'client_request_id="r 1"' in told
    assert "route=/x path=/y" in told
    assert "first_byte_ms=1000.0" in told
    assert "prompt_tokens=7" in told


def test_a_log_line_has_the_name_of_a_key_and_the_time_that_was_ours() -> None:
    told = line(key="team a", overhead_s=0.0021, return_mode="stream")
    assert 'upstream=u key="team a" return_mode=stream status=200' in told
    assert "overhead_ms=2.1 " in told


def test_work_is_shared_by_those_who_want_it_at_the_same_time() -> None:
    done, came = list[int](), threading.Semaphore(0)

    def work() -> int:
        for _ in range(5 * (not done)):
            assert came.acquire(timeout=60)
        time.sleep(0.5)  # for the last of them to get from there to here
        done.append(1)
        return len(done)

    def want() -> None:
        came.release()
        results.append(shared.result())

    shared, results = SingleFlight(work), list[int]()
    threads = [threading.Thread(target=want) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 5
    assert shared.result() == 2


def test_shared_work_that_fails_fails_for_all_and_is_tried_again() -> None:
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")
        return 7

    shared = SingleFlight(work)
    with pytest.raises(ValueError, match="first"):
        shared.result()
    assert shared.result() == 7


def test_shared_work_is_done_anew_when_its_result_was_kept_for_long_enough() -> None:
    now, done = [100.0], list[int]()

    def work() -> int:
        done.append(len(done))
        return done[-1]

    shared = SingleFlight(work, 1.0, lambda: now[0])
    assert [shared.result(), shared.result()] == [0, 0]
    now[0] += 0.999
    assert shared.result() == 0
    now[0] += 0.001
    assert [shared.result(), shared.result()] == [1, 1]


def test_a_failure_of_shared_work_is_not_kept() -> None:
    asked = list[int]()

    def work() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError("first")
        return len(asked)

    shared = SingleFlight(work, 1.0, lambda: 0.0)
    with pytest.raises(ValueError, match="first"):
        shared.result()
    assert shared.result() == 2


def test_shared_work_of_another_request_is_not_waited_for_without_end() -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait()

    shared = SingleFlight(work, longest_s=0.01)
    first = threading.Thread(target=shared.result)
    first.start()
    begun.wait()
    with pytest.raises(UpstreamTimeout):
        shared.result()
    end.set()
    first.join()


def test_a_time_out_that_shared_work_raises_is_its_own() -> None:
    def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        SingleFlight(work).result()
