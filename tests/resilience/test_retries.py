"""Retries that can't multiply: what is tried again, by whom, and what a client is told about when to come again."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest

from tests.resilience.farm import Farm, attempts, retry_after, speaker, state
from tests.support.client import STREAM_BODY, Client, ask, chat
from tests.support.processes import eventually

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
#: Outcomes of the proxy's own that are no refusals of a kind of request.
FAILURES: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "error event": {"kind": "error_event"},
    "broken": {"kind": "break_before"},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_retry_multiplies(farm: Farm, failure: str) -> None:
    """The SDK with its own two retries against a dead upstream: three requests upstream."""
    one = farm.upstream("one")
    farm.write("one")
    proxy = farm.serve()
    one.switch(**FAILURES[failure])
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=2) as client,
        pytest.raises(openai.APIError),
    ):
        client.chat.completions.create(model="m1", messages=MESSAGES)
    assert len(one.chats()) == 3
    assert [seen["headers"]["x-stainless-retry-count"] for seen in one.chats()] == ["0", "1", "2"]


def test_retry_multiplies_not_even_a_rate_limit(farm: Farm) -> None:
    """An SDK that retries by itself gets the upstream's words about that, and no retry of the proxy's."""
    one = farm.upstream("one")
    farm.write("one")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "0.01"]])
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=2) as client,
        pytest.raises(openai.APIError),
    ):
        client.chat.completions.create(model="m1", messages=MESSAGES)
    assert [seen["headers"]["x-stainless-retry-count"] for seen in one.chats()] == ["0", "1", "2"]


def test_retry_multiplies_with_a_spare(farm: Farm) -> None:
    """All routes fail: never more requests than routes, for each of the SDK's three."""
    for name in ("one", "two"):
        farm.upstream(name).switch("status", status=500)
    farm.write("one", "two", breaker={"failures": 100})
    proxy = farm.serve()
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=2) as client,
        pytest.raises(openai.APIError),
    ):
        client.chat.completions.create(model="m1", messages=MESSAGES)
    sent = [len(farm.upstream(name).chats()) for name in ("one", "two")]
    assert sent == [3, 3]


def test_never_more_attempts_than_routes_and_one(farm: Farm) -> None:
    names = ["one", "two", "three"]
    for name in names:
        farm.upstream(name).switch("status", status=429, headers=[["Retry-After", "0.01"]])
    farm.write(*names)
    proxy = farm.serve()
    answer = chat(proxy.port)
    assert answer.status == 429
    assert attempts(answer) == sum(len(farm.upstream(name).chats()) for name in names) <= len(names) + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_retry_4xx(farm: Farm, status: int) -> None:
    """A refusal is sent once, to one upstream."""
    one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=status)
    assert chat(proxy.port).status == status
    assert (len(one.chats()), len(two.chats())) == (1, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Retry-After", "17"), ("retry-after-ms", "1700"), ("x-should-retry", "false"), ("x-should-retry", "true")],
)
def test_retry_after_lost(farm: Farm, name: str, value: str) -> None:
    """What the upstream says about coming again arrives under its own name."""
    one = farm.upstream("one")
    farm.write("one")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[[name, value]])
    for stream in (False, True):
        answer = chat(proxy.port, stream=stream)
        assert (answer.status, answer.header(name)) == (429, value)


def test_retry_after_lost_when_all_cool_down(farm: Farm) -> None:
    for name, seconds in (("one", "60"), ("two", "30")):
        farm.upstream(name).switch("status", status=429, headers=[["Retry-After", seconds]])
    farm.write("one", "two")
    proxy = farm.serve()
    assert chat(proxy.port).status == 429
    refused = chat(proxy.port)
    assert refused.status == 429
    assert 0 < retry_after(refused) <= 30
    assert [len(farm.upstream(name).chats()) for name in ("one", "two")] == [1, 1]


def test_retry_after_stale(farm: Farm) -> None:
    """The delay of an earlier failure is not that of a later one."""
    one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "600"]])
    two.switch("status", status=500)
    first = chat(proxy.port)
    assert first.status in (429, 500)
    if first.status == 500:
        assert first.header("Retry-After") in ("", "600")
    one.switch("ok")
    two.switch("status", status=429, headers=[["Retry-After", "5"]])
    answer = chat(proxy.port)
    assert answer.status == 429
    assert 0 < retry_after(answer) <= 5


def test_retry_waits_only_as_long_as_it_may(farm: Farm) -> None:
    """A short Retry-After of the only route is waited for, once; a long one is the client's."""
    one = farm.upstream("one")
    farm.write("one", retry_wait="2s")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "1"]])
    answer = chat(proxy.port)
    sent = one.chats()
    assert (answer.status, attempts(answer), len(sent)) == (429, 2, 2)
    assert sent[1]["at"] - sent[0]["at"] >= 1
    one.switch("status", status=429, headers=[["Retry-After", "30"]])
    eventually(lambda: state(proxy, "one")["state"] != "cooling")
    assert attempts(chat(proxy.port)) == 1


def test_a_retry_of_the_clients_gets_none_of_the_proxys(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "0.01"]])
    answer = chat(proxy.port, headers={"x-stainless-retry-count": "1"})
    assert (answer.status, len(one.chats())) == (429, 1)


def test_client_gone_while_retrying(farm: Farm) -> None:
    """A client that leaves while the proxy waits for a Retry-After ends it all: nothing more is sent."""
    one = farm.upstream("one")
    farm.write("one", retry_wait="60s")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "3"]])
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        eventually(lambda: len(one.chats()) == 1)
    line = eventually(lambda: [found for found in proxy.lines() if found["ending"] == "client_gone"])
    assert len(line) == 1
    one.switch("ok")
    assert speaker(chat(proxy.port)) == "one"
    assert len(one.chats()) == 2, "what came after the client had left is the second client's only"


def test_no_backoff_storm(farm: Farm) -> None:
    """While all cool down, clients that come again and again cost the upstreams nothing."""
    for name in ("one", "two"):
        farm.upstream(name).switch("status", status=429, headers=[["Retry-After", "600"]])
    farm.write("one", "two")
    proxy = farm.serve()
    statuses = [chat(proxy.port, stream=True).status for _ in range(50)]
    assert set(statuses) == {429}
    assert [len(farm.upstream(name).chats()) for name in ("one", "two")] == [1, 1]


def test_a_long_retry_after_takes_the_spare(farm: Farm) -> None:
    one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "86400"]])
    answers = [chat(proxy.port, stream=True) for _ in range(20)]
    assert {speaker(answer) for answer in answers} == {"two"}
    assert [attempts(answer) for answer in answers] == [2] + [1] * 19
    assert (len(one.chats()), len(two.chats())) == (1, 20)


#: Values that a server may send, and whether they keep it from being asked right away.
ODD_VALUES = {
    "0": False,
    "-1": False,
    "soon": False,
    "": False,
    "1e3": None,
    "99999999999999999999": None,
    "Fri, 31 Dec 2100 23:59:59 GMT": True,
    "Fri, 31 Dec 1999 23:59:59 GMT": False,
    "inf": None,
    "nan": None,
}


@pytest.mark.parametrize("value", ODD_VALUES)
def test_odd_values_of_retry_after_break_nothing(farm: Farm, value: str) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", value]])
    assert {speaker(chat(proxy.port)) for _ in range(3)} == {"two"}
    one.switch("ok")
    if ODD_VALUES[value] is False:
        eventually(lambda: speaker(chat(proxy.port)) == "one")
    elif ODD_VALUES[value]:
        assert {speaker(chat(proxy.port)) for _ in range(3)} == {"two"}
    assert ask(proxy.port, "GET", "/health").status == 200


def test_a_header_that_comes_twice_breaks_nothing(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "600"], ["retry-after", "1"], ["retry-after-ms", "x"]])
    assert [speaker(chat(proxy.port)) for _ in range(3)] == ["two"] * 3
    assert len(one.chats()) == 1


def test_a_wait_is_no_time_of_the_client_s_answer(farm: Farm) -> None:
    """The wait for a retry never outlasts the request's own time limit."""
    one = farm.upstream("one")
    farm.write("one", retry_wait="60s", total_timeout=2)
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "50"]])
    begun = time.monotonic()
    answer = ask(proxy.port, "POST", "/v1/chat/completions", json.dumps({"model": "m1", "messages": MESSAGES}).encode())
    assert answer.status in (429, 504)
    assert time.monotonic() - begun < 50
