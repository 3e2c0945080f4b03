"""Balancing over the upstreams of a rule, with the counts of all workers."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.resilience.farm import IS_FULL, WORKERS, Farm, speaker, states
from tests.support.client import STREAM_BODY, Client, chat
from tests.support.processes import Proxy, eventually

STREAMS, THREE = 200, ["one", "two", "three"]
#: How far from its share an upstream may be.
SPREAD = 0.10
FOUR = ["one", "two", "three", "four"]
SESSIONS = [f"session-{number}" for number in range(100)]


def open_stream(proxy: Proxy, stack: ExitStack) -> Client:
    """Begin a stream, and wait for its first word."""
    client = stack.enter_context(Client(proxy.port))
    client.send("POST", "/v1/chat/completions", STREAM_BODY)
    client.until(b'"content": "')
    return client


def open_counts(proxy: Proxy) -> dict[str, int]:
    """Return how many streams the proxy counts for each upstream."""
    return {name: told["open_streams"] for name, told in states(proxy).items()}


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_least_open_spreads_evenly_and_a_killed_worker_counts_no_more(farm: Farm, worker_class: str) -> None:
    farm.write(*THREE, models={"m1": {"upstream": THREE, "balance": "least_open"}})
    for name in THREE:
        farm.upstream(name).switch("held")
    proxy = farm.serve({"WORKER_CLASS": worker_class, "THREADS": str(STREAMS)})
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: open_stream(proxy, stack), range(STREAMS)))
        assert len(clients) == STREAMS
        held = {name: farm.upstream(name).active() for name in THREE}
        share = STREAMS / len(THREE)
        assert all(abs(count - share) <= SPREAD * share for count in held.values()), held
        eventually(lambda: open_counts(proxy) == held)  # which workers there are is looked up twice a second

        os.kill(proxy.workers()[0], signal.SIGKILL)
        killed_at = time.monotonic()
        eventually(lambda: sum(farm.upstream(name).active() for name in THREE) < STREAMS)
        eventually(lambda: open_counts(proxy) == {name: farm.upstream(name).active() for name in THREE})
        assert not IS_FULL or time.monotonic() - killed_at < 1
        left = sum(farm.upstream(name).active() for name in THREE)
        eventually(lambda: len(proxy.workers()) == WORKERS)
        for count in range(left + 1, STREAMS + 1):  # one by one: the others see the new worker's half a second later
            open_stream(proxy, stack)
            eventually(lambda: sum(open_counts(proxy).values()) == count)  # noqa: B023 it is asked at once
        held = {name: farm.upstream(name).active() for name in THREE}
        assert all(abs(count - share) <= SPREAD * share for count in held.values()), held
    eventually(lambda: set(open_counts(proxy).values()) == {0})


def sessions(proxy: Proxy) -> dict[str, str]:
    """Return which upstream serves each session."""
    # One after the other: the bound of load may move a session while others are served.
    return {name: speaker(chat(proxy.port, headers={"X-Session-Id": name})) for name in SESSIONS}


def test_sticky_sessions_move_only_with_their_upstream(farm: Farm) -> None:
    """One of four goes and comes back: only its sessions move, and they come back."""
    farm.write(*FOUR, models={"m1": {"upstream": FOUR, "balance": "sticky"}})
    proxy = farm.serve()
    before = sessions(proxy)
    assert set(before.values()) == set(FOUR)
    assert sessions(proxy) == before
    gone = farm.upstream("two")
    gone.switch("refused")
    during = sessions(proxy)
    assert "two" not in during.values()
    assert {name for name in SESSIONS if during[name] != before[name]} == {
        name for name in SESSIONS if before[name] == "two"
    }
    gone.switch("ok")
    eventually(lambda: sessions(proxy) == before)


@pytest.mark.slow
def test_sticky_sessions_survive_the_removal_from_the_settings(farm: Farm) -> None:
    farm.write(*FOUR, models={"m1": {"upstream": FOUR, "balance": "sticky"}})
    proxy = farm.serve()
    before = sessions(proxy)
    fewer = [name for name in FOUR if name != "three"]
    farm.write(*fewer, models={"m1": {"upstream": fewer, "balance": "sticky"}})
    proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: "three" not in sessions(proxy).values())
    moved = {name for name, served in sessions(proxy).items() if served != before[name]}
    assert moved == {name for name in SESSIONS if before[name] == "three"}
    farm.write(*FOUR, models={"m1": {"upstream": FOUR, "balance": "sticky"}})
    proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: sessions(proxy) == before)


def test_names_of_sessions_are_compared_whole(farm: Farm) -> None:
    """`session-1` and `session-12` are two sessions: over many such pairs they don't go together."""
    farm.write(*FOUR, models={"m1": {"upstream": FOUR, "balance": "sticky"}})
    served = sessions(farm.serve())
    pairs = [(f"session-{number}", f"session-{number}{digit}") for number in range(1, 10) for digit in range(10)]
    assert any(served[short] != served[long] for short, long in pairs)


def test_without_a_session_the_first_words_decide(farm: Farm) -> None:
    """Turns of one conversation go to one upstream; conversations are spread."""
    farm.write(*FOUR, models={"m1": {"upstream": FOUR, "balance": "sticky"}})
    proxy = farm.serve()
    chosen = set()
    for number in range(20):
        begun = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Question {number}"}]
        turns = [begun, [*begun, {"role": "assistant", "content": "a"}, {"role": "user", "content": "and then?"}]]
        first, second = (speaker(chat(proxy.port, messages=messages)) for messages in turns)
        assert first == second
        chosen.add(first)
    assert len(chosen) > 1


def test_weights_decide_the_shares(farm: Farm) -> None:
    weights = {"one": 6, "two": 2, "three": 0.01}
    farm.write(*THREE, models={"m1": {"upstream": THREE, "balance": "weighted", "weights": weights}})
    proxy = farm.serve()
    with ThreadPoolExecutor(4) as pool:
        counts = Counter(pool.map(lambda _: speaker(chat(proxy.port)), range(200)))
    assert counts["one"] > counts["two"] > counts["three"]


def test_ordered_is_the_default(farm: Farm) -> None:
    farm.write(*THREE)
    proxy = farm.serve()
    assert {speaker(chat(proxy.port)) for _ in range(12)} == {"one"}


@pytest.mark.parametrize("balance", ["weighted", "least_open", "sticky"])
def test_whichever_is_chosen_the_others_are_spares(farm: Farm, balance: str) -> None:
    farm.write(*THREE, models={"m1": {"upstream": THREE, "balance": balance}})
    proxy = farm.serve()
    farm.upstream("one").switch("refused")
    farm.upstream("two").switch("status", status=500)
    answers = [chat(proxy.port, stream=True, headers={"X-Session-Id": f"s-{number}"}) for number in range(30)]
    assert {speaker(answer) for answer in answers} == {"three"}
    assert len(farm.upstream("two").chats()) <= 3


def test_requests_for_a_larger_window_are_balanced_too(farm: Farm) -> None:
    """The rule of the model for longer prompts decides which of its upstreams is asked first."""
    error = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
    farm.upstream("one").switch("status", status=400, error=error)
    larger = ["two", "three", "four"]
    rules = {
        "m1": {"upstream": "one", "context_fallback": "m1-large"},
        "m1-large": {"upstream": larger, "balance": "sticky"},
    }
    farm.write(*FOUR, models=rules)
    proxy = farm.serve()

    def serve_sessions() -> list[str]:
        return [speaker(chat(proxy.port, headers={"X-Session-Id": f"s-{number}"})) for number in range(12)]

    served = serve_sessions()
    assert set(served) == set(larger)
    assert serve_sessions() == served
    assert "x-session-id" in farm.upstream("one").chats()[0]["headers"]
    assert all("x-session-id" not in request["headers"] for name in larger for request in farm.upstream(name).chats())
