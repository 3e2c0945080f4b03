"""Limits of requests at one time, and the line of those that wait: bounded, fair by key, left by those who leave."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.resilience.farm import WORKERS, Farm, error_codes, retry_after, speaker, state, threads
from tests.support.client import STREAM_BODY, Answer, Client, ask, chat
from tests.support.processes import Proxy, eventually

PLACES, BOUND, CALLERS = 8, 32, 500
#: For requests, and with those that a worker has besides.
THREADS, MOST_THREADS = 64, 64 + 16
LIMITED = {"one": {"max_concurrent": PLACES, "queue": {"size": BOUND, "wait": "300s"}}}
KEYS = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "anna=key-of-anna,bert=key-of-bert"}


def send(proxy: Proxy, stack: ExitStack, name: str = "", **headers: str) -> Client:
    """Send a chat that names its caller, and do not wait for the answer."""
    client = stack.enter_context(Client(proxy.port))
    asked = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "user": name, "stream": True}
    client.send("POST", "/v1/chat/completions", json.dumps(asked).encode(), **headers)
    return client


def waiting(proxy: Proxy) -> int:
    """Return how many wait for the upstream."""
    count: int = state(proxy, "one")["waiting"]
    return count


@contextmanager
def full(farm: Farm, proxy: Proxy, stack: ExitStack, places: int = PLACES) -> Iterator[list[Client]]:
    """Take all places."""
    one = farm.upstream("one")
    one.switch("held")
    holders = [send(proxy, stack) for _ in range(places)]
    eventually(lambda: one.active() == places)
    yield holders


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_many_callers_for_few_places(farm: Farm, worker_class: str) -> None:
    """Few are served at a time, a bounded number waits, all others are refused at once, and nothing is left."""
    one = farm.upstream("one")
    farm.write("one", options=LIMITED)
    proxy = farm.serve({"WORKER_CLASS": worker_class, "THREADS": str(THREADS)})
    with ExitStack() as stack:
        one.switch("held")
        clients = [send(proxy, stack) for _ in range(CALLERS)]
        refused = CALLERS - PLACES - BOUND
        eventually(lambda: sum(line["status"] == "503" for line in proxy.lines()) == refused)
        eventually(lambda: (one.active(), waiting(proxy)) == (PLACES, BOUND))
        for served in range(1, BOUND + 1):
            one.release()
            eventually(lambda: len(one.chats()) == PLACES + served)  # noqa: B023 it is asked at once
            assert one.active() <= PLACES
        one.release(PLACES)
        answers = [client.answer() for client in clients]
    assert Counter(answer.status for answer in answers) == {200: PLACES + BOUND, 503: refused}
    assert all(speaker(answer) == "one" for answer in answers if answer.status == 200)
    told = [answer for answer in answers if answer.status == 503]
    assert {answer.error["code"] for answer in told} == {"overloaded"}
    assert all(retry_after(answer) > 0 for answer in told)
    assert one.most_active() == PLACES
    eventually(lambda: (state(proxy, "one")["open_streams"], waiting(proxy)) == (0, 0))
    assert threads(proxy) <= WORKERS * MOST_THREADS


def test_the_line_is_fair_by_key(farm: Farm) -> None:
    """A key with few waiters does not stand behind all those of a key with many."""
    one = farm.upstream("one")
    farm.write("one", options={"one": {"max_concurrent": 1, "queue": {"size": BOUND, "wait": "300s"}}})
    proxy = farm.serve({**KEYS, "METRICS_OPEN": "true"})
    with ExitStack() as stack:
        one.switch("held")
        callers = [*["anna"] * 6, *["bert"] * 3]
        clients = [send(proxy, stack, "first", Authorization="Bearer key-of-anna")]
        eventually(lambda: one.active() == 1)
        for count, name in enumerate(callers, 1):
            clients.append(send(proxy, stack, name, Authorization=f"Bearer key-of-{name}"))
            eventually(lambda: waiting(proxy) == count)  # noqa: B023 it is asked at once
        for served in range(len(callers)):
            one.release()
            eventually(lambda: len(one.chats()) == served + 2)  # noqa: B023 it is asked at once
        one.release()
        assert {speaker(client.answer()) for client in clients} == {"one"}
    order = [json.loads(seen["body"])["user"] for seen in one.chats()][1:]
    assert sorted(order) == sorted(callers)
    assert Counter(order[:6]) == {"anna": 3, "bert": 3}


def test_those_of_one_key_are_served_in_their_order(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", options={"one": {"max_concurrent": 1, "queue": {"size": BOUND, "wait": "300s"}}})
    proxy = farm.serve()
    names = [str(number) for number in range(8)]
    with ExitStack() as stack:
        one.switch("held")
        for count, name in enumerate(names):
            send(proxy, stack, name)
            eventually(lambda: one.active() == 1 and waiting(proxy) == count)  # noqa: B023 it is asked at once
        for served in range(1, len(names)):
            one.release()
            eventually(lambda: len(one.chats()) == served + 1)  # noqa: B023 it is asked at once
        one.release()
        assert [json.loads(seen["body"])["user"] for seen in one.chats()] == names


def test_a_wait_has_an_end(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", options={"one": {"max_concurrent": 1, "queue": {"size": 4, "wait": "500ms"}}})
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1) as (holder,):
        answer = chat(proxy.port)
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert retry_after(answer) > 0
        one.release()
        assert speaker(holder.answer()) == "one"
    assert len(one.chats()) == 1
    assert waiting(proxy) == 0


def test_who_leaves_the_line_has_no_place(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", options={"one": {"max_concurrent": 1, "queue": {"size": 4, "wait": "300s"}}})
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1):
        leaver = send(proxy, stack, "leaver")
        eventually(lambda: waiting(proxy) == 1)
        leaver.leave()
        eventually(lambda: waiting(proxy) == 0)
        one.release()
    eventually(lambda: one.active() == 0)
    one.switch("ok")
    assert speaker(chat(proxy.port)) == "one"
    assert "leaver" not in [json.loads(seen["body"]).get("user") for seen in one.chats()]
    eventually(lambda: {line["ending"] for line in proxy.lines()} == {"complete", "client_gone"})


def test_worker_killed_with_slots_and_with_requests_that_wait(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", options={"one": {"max_concurrent": 4, "queue": {"size": 8, "wait": "300s"}}})
    proxy = farm.serve({"WORKERS": "2"})
    with ExitStack() as stack, full(farm, proxy, stack, 4):
        waiters = [send(proxy, stack, "waiter") for _ in range(4)]
        eventually(lambda: waiting(proxy) == len(waiters))
        one.switch("ok")
        for pid in proxy.workers():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: chat(proxy.port).status == 200 if len(proxy.workers()) == 2 else False)
    eventually(lambda: (state(proxy, "one")["open_streams"], waiting(proxy)) == (0, 0))


def test_a_full_upstream_has_a_spare(farm: Farm) -> None:
    """Where another route has a place at once, none waits."""
    one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two", options={"one": {"max_concurrent": 1}})
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1):
        assert speaker(chat(proxy.port)) == "two"
        one.release()
    assert (len(one.chats()), len(two.chats())) == (1, 1)


def test_limits_at_all_three_levels_hold(farm: Farm) -> None:
    """That of the process is each upstream's default, one of an upstream wins over it."""
    one, two = farm.upstream("one"), farm.upstream("two")
    rules = {"m1": {"upstream": "one"}, "m2": {"upstream": "two"}}
    farm.write(
        "one",
        "two",
        options={"two": {"max_concurrent": 2}},
        models=rules,
        max_concurrent=1,
        queue={"size": 0, "wait": 0},
    )
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1):
        assert chat(proxy.port).status == 503
        two.switch("held", model="m2")
        holder = stack.enter_context(Client(proxy.port))
        body = json.dumps({**json.loads(STREAM_BODY), "model": "m2"}).encode()
        holder.send("POST", "/v1/chat/completions", body)
        eventually(lambda: two.active() == 1)
        two.switch("ok", model="m2")
        assert speaker(chat(proxy.port, model="m2")) == "two"
        assert one.active() == 1


def test_an_early_heartbeat_reaches_who_waits(farm: Farm) -> None:
    one = farm.upstream("one")
    options = {"one": {"max_concurrent": 1, "queue": {"size": 4, "wait": "300s"}}}
    farm.write("one", options=options, heartbeat=0.2, early_heartbeat=True)
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1):
        client = send(proxy, stack, "waiter")
        head = client.head()
        client.until(b":")
        assert (head.status, len(one.chats())) == (200, 1)
        one.release(2)
        head.body = client.until(b"[DONE]")
    eventually(lambda: len(one.chats()) == 2)


def test_who_waits_too_long_behind_an_early_heartbeat_gets_one_error_event(farm: Farm) -> None:
    options = {"one": {"max_concurrent": 1, "queue": {"size": 4, "wait": "1s"}}}
    farm.write("one", options=options, heartbeat=0.2, early_heartbeat=True)
    proxy = farm.serve()
    with ExitStack() as stack, full(farm, proxy, stack, 1):
        answer: Answer = send(proxy, stack, "waiter").answer()
    assert (answer.status, error_codes(answer), answer.whole) == (200, ["overloaded"], True)


def test_health_and_metrics_are_answered_while_all_places_are_taken(farm: Farm) -> None:
    farm.write("one", options=LIMITED)
    proxy = farm.serve({"THREADS": str(THREADS)})
    with ExitStack() as stack, full(farm, proxy, stack):
        waiters = [send(proxy, stack) for _ in range(BOUND)]
        eventually(lambda: waiting(proxy) == len(waiters))
        for path in ("/health/live", "/health/ready", "/health", "/metrics"):
            assert ask(proxy.port, "GET", path).status == 200
        farm.upstream("one").release(PLACES + BOUND)
        assert {speaker(waiter.answer()) for waiter in waiters} == {"one"}
    assert len(proxy.workers()) == WORKERS
