"""Circuits of all workers: what opens them, what does not, what is let through, and what a lone upstream gets."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.resilience.farm import (
    WORKERS,
    Farm,
    attempts,
    error_codes,
    retry_after,
    speaker,
    state,
    wait_until_served_by,
)
from tests.support.client import STREAM_BODY, Client, ask, chat
from tests.support.processes import Proxy, eventually

#: Failures in a row that open a circuit by default.
FAILURES = 3
SERVER_ERROR: dict[str, Any] = {"kind": "status", "status": 500}


@pytest.mark.parametrize("kind", ["refused", "silent", "status", "error_event", "break_before"])
def test_lone_upstream_dead(farm: Farm, kind: str) -> None:
    """A lone upstream is asked by every request, once and fast; none is refused unasked."""
    one = farm.upstream("one")
    farm.write("one", options={"one": {"first_byte_timeout": 1, "connect_timeout": 30}})
    proxy = farm.serve()
    one.switch(kind)
    answers = [chat(proxy.port) for _ in range(FAILURES + 2)]
    assert "upstreams_unavailable" not in {answer.error["code"] for answer in answers}
    assert all(answer.status >= 500 for answer in answers)
    if kind != "refused":
        assert len(one.chats()) == len(answers)
    one.switch("ok")
    eventually(lambda: chat(proxy.port).status == 200)


def test_lone_upstream_dead_to_connect(farm: Farm) -> None:
    """Once it is known to be away, a connection is not waited for as long as it may take otherwise."""
    one = farm.upstream("tls-lone")
    farm.write("tls-lone", options={"tls-lone": {"connect_timeout": 6, "verify": False}}, breaker={"failures": 1})
    proxy = farm.serve()
    one.switch("stalled")
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        assert chat(proxy.port).status == 504
        seconds.append(time.monotonic() - begun)
    assert seconds[1] < seconds[0]


def test_two_upstreams_at_one_address_are_a_lone_one(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", options={"one": {}}, models={"m1": {"upstream": ["one", "again"]}})
    document = json.loads((farm.folder / "config.yaml").read_text())
    document["upstreams"]["again"] = {"base_url": one.url, "api_key": "another"}
    (farm.folder / "config.yaml").write_text(json.dumps(document))
    proxy = farm.serve()
    one.switch(**SERVER_ERROR)
    for _ in range(4 * FAILURES):
        chat(proxy.port)
    one.switch("ok")
    eventually(lambda: chat(proxy.port).status == 200)


def test_all_open(farm: Farm) -> None:
    """Both are away: one request at a time tries the one that is due first, the others are told when to come again."""
    upstreams = one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two", breaker={"open": "60s"})
    proxy = farm.serve()
    for upstream in upstreams:
        upstream.switch(**SERVER_ERROR)
    for _ in range(FAILURES):
        assert chat(proxy.port).status == 500
    for upstream in upstreams:
        upstream.switch("silent", model="m1")
    before = len(one.chats()) + len(two.chats())
    assert before == 2 * FAILURES
    with ExitStack() as stack:

        def is_tried() -> bool:
            client = stack.enter_context(Client(proxy.port))
            client.send("POST", "/v1/chat/completions", STREAM_BODY)
            return one.active() + two.active() == 1

        eventually(is_tried)
        answers = [chat(proxy.port, stream=stream) for stream in (True, False) for _ in range(2 * WORKERS)]
        assert {(answer.status, answer.error["code"]) for answer in answers} == {(503, "upstreams_unavailable")}
        assert all(0 < retry_after(answer) <= 60 for answer in answers)
        assert len(one.chats()) + len(two.chats()) == before + 1
    for upstream in upstreams:
        upstream.switch("ok", model="m1")
    eventually(lambda: chat(proxy.port).status == 200)


def test_longer_cooldown_wins(farm: Farm) -> None:
    """A later, longer Retry-After counts."""
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "1"]])
    assert speaker(chat(proxy.port)) == "two"
    one.switch("status", status=429, headers=[["Retry-After", "3000"]])
    eventually(lambda: speaker(chat(proxy.port)) == "two" and len(one.chats()) == 2)
    assert 1000 < cooldown_s(proxy, "m1") <= 3000


def cooldown_s(proxy: Proxy, model: str) -> float:
    """Return for how long a model of the first upstream is left alone."""
    seconds: float = state(proxy, "one")["models"][model]["next_probe_s"]
    return seconds


def test_longer_cooldown_wins_over_requests_that_were_under_way(farm: Farm) -> None:
    """Requests that are refused later with a shorter time, or none, shorten nothing."""
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("delayed", status=429, headers=[["Retry-After", "1"]])
    with ThreadPoolExecutor(4) as pool:
        late = [pool.submit(chat, proxy.port) for _ in range(4)]
        eventually(lambda: one.active() == len(late))
        one.switch("status", status=429, headers=[["Retry-After", "3000"]])
        assert speaker(chat(proxy.port)) == "two"
        one.release(len(late))
        assert {speaker(one.result()) for one in late} == {"two"}
    assert cooldown_s(proxy, "m1") > 1000


def test_one_probe(farm: Farm) -> None:
    """While one request finds out whether an upstream is back, all others take the spare."""
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"open": "1s"})
    proxy = farm.serve()
    one.switch("status", model="m1", status=500)
    assert {speaker(chat(proxy.port)) for _ in range(FAILURES)} == {"two"}
    one.switch("silent", model="m1")
    before = len(one.chats())
    with ExitStack() as stack:

        def is_probed() -> bool:
            client = stack.enter_context(Client(proxy.port))
            client.send("POST", "/v1/chat/completions", STREAM_BODY)
            return len(one.chats()) > before

        eventually(is_probed)
        answers = [speaker(chat(proxy.port, stream=True)) for _ in range(5 * WORKERS)]
        assert set(answers) == {"two"}
        assert len(one.chats()) == before + 1
    one.switch("ok", model="m1")
    wait_until_served_by("one", lambda: chat(proxy.port))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422])
def test_bad_client_key_opens_breaker(farm: Farm, status: int) -> None:
    """One caller's wrong key, unknown model or long prompt shuts an upstream for no other one."""
    one = farm.upstream("one")
    farm.write("one", "two", options={"one": {"api_key": None, "client_keys": "forward"}})
    proxy = farm.serve()
    one.switch("status", status=status)
    for _ in range(4 * FAILURES):
        assert chat(proxy.port, headers={"Authorization": "Bearer wrong"}).status == status
    one.switch("ok")
    answer = chat(proxy.port, headers={"Authorization": "Bearer right"})
    assert (speaker(answer), attempts(answer)) == ("one", 1)


def test_clients_that_leave_open_nothing(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("silent")
    for number in range(4 * FAILURES):
        with Client(proxy.port) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY)
            eventually(lambda: len(one.chats()) > number)  # noqa: B023 it is asked at once
    eventually(lambda: one.active() == 0)
    one.switch("ok")
    assert speaker(chat(proxy.port)) == "one"
    eventually(lambda: state(proxy, "one")["open_streams"] == 0)


def test_a_broken_model_shuts_no_other_one_at_the_same_address(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two", models={name: {"upstream": ["one", "two"]} for name in ("m1", "m2")})
    proxy = farm.serve()
    one.switch("status", model="m2", status=500)
    assert [speaker(chat(proxy.port, model="m2")) for _ in range(20)] == ["two"] * 20
    assert len(one.chats("m2")) <= FAILURES + 1
    assert [speaker(chat(proxy.port, model="m1")) for _ in range(5)] == ["one"] * 5
    assert list(state(proxy, "one")["models"]) == ["m2"]


def test_a_stream_of_failures_between_successes_opens_by_their_share(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"failures": 5, "open": "60s"})
    proxy = farm.serve()
    for _ in range(10):
        for kind in ("ok", "error_event"):
            one.switch(kind)
            chat(proxy.port)
    eventually(lambda: state(proxy, "one")["state"] != "closed" or list(state(proxy, "one")["models"]))


def test_a_break_after_the_first_content_opens_nothing(farm: Farm) -> None:
    """The upstream had begun to answer: that counts as its success, and the client knows of the rest."""
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("break_after")
    answers = [chat(proxy.port, stream=True) for _ in range(4 * FAILURES)]
    assert {(answer.text, len(error_codes(answer))) for answer in answers} == {("one", 1)}
    assert len(one.chats()) == len(answers)


def test_a_429_cools_down_and_opens_nothing(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two", models={name: {"upstream": ["one", "two"]} for name in ("m1", "m2")})
    proxy = farm.serve()
    one.switch("status", model="m1", status=429, headers=[["Retry-After", "1000"]])
    assert [speaker(chat(proxy.port)) for _ in range(6)] == ["two"] * 6
    assert len(one.chats()) == 1
    assert [speaker(chat(proxy.port, model="m2")) for _ in range(6)] == ["one"] * 6
    assert [one["state"] for one in state(proxy, "one")["models"].values()] == ["cooling"]


def test_failures_of_many_workers_are_one_count(farm: Farm) -> None:
    """However the requests fall on the workers, an outage wastes no more attempts than one worker would."""
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"failures": 4, "open": "60s"})
    proxy = farm.serve()
    one.switch(**SERVER_ERROR)
    assert {speaker(chat(proxy.port)) for _ in range(10 * WORKERS)} == {"two"}
    assert len(one.chats()) == 4
    assert len(proxy.workers()) == WORKERS


def test_a_successful_request_ends_the_row_of_failures(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    for _ in range(3):
        one.switch(**SERVER_ERROR)
        for _ in range(FAILURES - 1):
            assert speaker(chat(proxy.port)) == "two"
        one.switch("ok")
        assert speaker(chat(proxy.port)) == "one"
    assert state(proxy, "one")["state"] == "closed"


def test_the_health_page_tells_since_when_and_why(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"open": "60s"})
    proxy = farm.serve()
    one.switch("refused")
    assert {speaker(chat(proxy.port)) for _ in range(5)} == {"two"}
    told = state(proxy, "one")
    assert told["state"] == "open"
    assert told["reason"]
    assert told["since_s"] >= 0
    assert told["next_probe_s"] >= 0
    assert ask(proxy.port, "GET", "/health/ready").status == 200
