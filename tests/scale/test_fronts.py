"""Replicas behind nginx and HAProxy, with the recipes as they stand: nothing is held back, sent twice or lost."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tests.scale.replicas import COUNT, Front, Replicas, front_haproxy, front_nginx, replicas_behind
from tests.support.client import Answer, ask
from tests.support.processes import Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

STREAMS = 100
EVENTS = 20
PACE_S = 0.1
WORDS = [f"{number} " for number in range(EVENTS)]


@pytest.fixture(params=[front_nginx, front_haproxy], ids=["nginx", "haproxy"])
def replicas(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    front: Front = request.param
    delay_s = 3 if front is front_haproxy else 0
    folder = tmp_path_factory.mktemp("replicas")
    with replicas_behind(front, folder, upstream, drain_delay=delay_s) as running:
        yield running


def paced(upstream: Upstream) -> str:
    """Return a script of a stream whose events come one by one."""
    steps = [step for word in WORDS for step in (["send", chunked(event(word))], ["sleep", PACE_S])]
    return upstream.script(["send", CHUNKED], *steps, ["send", bodies([event("", "stop"), DONE])])


def test_a_stream_comes_event_by_event(replicas: Replicas, upstream: Upstream) -> None:
    script = upstream.script(
        ["send", CHUNKED],
        *(step for word in "abcd" for step in (["send", chunked(event(word))], ["await"])),
        ["send", bodies([event("", "stop"), DONE])],
    )
    with replicas.send(script) as client:
        for word in "abcd":
            client.until(json.dumps(word).encode())
            upstream.open(script)
        answer = client.answer()
    assert (answer.text, answer.whole) == ("abcd", True)


def test_a_rolling_restart_loses_no_event(replicas: Replicas, upstream: Upstream) -> None:
    """A hundred clients stream one answer after the other while each replica is stopped and started again."""
    script = paced(upstream)
    answers: list[Answer] = []
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.is_set():
            with replicas.send(script) as client:
                answers.append(client.answer())

    threads = [threading.Thread(target=repeat) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    eventually(lambda: upstream.count(script) >= STREAMS)
    for number in range(COUNT):
        replicas.restart(number)
        eventually(partial(in_flight, replicas.proxies[number].port))
    is_over.set()
    for thread in threads:
        thread.join()
    assert [answer.body for answer in answers if answer.status != 200] == []
    assert {answer.text for answer in answers} == {"".join(WORDS)}
    assert all(answer.whole and answer.body.endswith(DONE.encode()) for answer in answers)
    assert upstream.count(script) == len(answers), "no request was sent twice"


def test_a_draining_replica_gets_no_new_request(replicas: Replicas, upstream: Upstream) -> None:
    """One that was asked to stop keeps its stream, and others get what comes."""
    held = upstream.script(
        ["send", CHUNKED + chunked(event("a"))], ["await"], ["send", bodies([event("b", "stop"), DONE])]
    )
    with replicas.send(held) as client:
        client.until(b'"a"')
        (busy,) = [proxy for proxy in replicas.proxies if in_flight(proxy.port)]
        busy.process.send_signal(signal.SIGTERM)
        eventually(lambda: not_ready(busy.port))
        before = len(busy.lines())
        eventually(lambda: {replicas.chat().status for _ in range(2 * COUNT)} == {200} and len(busy.lines()) == before)
        upstream.open(held)
        answer = client.answer()
    assert (answer.text, answer.whole) == ("ab", True)


def in_flight(port: int) -> int:
    """Return how many requests a replica serves now."""
    count: int = ask(port, "GET", "/metrics", Accept="application/json").json["in_flight"]
    return count


def not_ready(port: int) -> bool:
    """Return whether a replica answers that it is not ready, or nothing."""
    try:
        return ask(port, "GET", "/health/ready").status == 503
    except OSError:
        return True


def test_a_killed_replica_costs_only_its_own_streams(replicas: Replicas, upstream: Upstream) -> None:
    held = upstream.script(
        ["send", CHUNKED + chunked(event("a"))], ["await"], ["send", bodies([event("b", "stop"), DONE])]
    )
    clients = [replicas.send(held) for _ in range(2 * COUNT)]
    for client in clients:
        client.until(b'"a"')
    lost = in_flight(replicas.proxies[0].port)
    replicas.kill(0)
    assert {replicas.chat().status for _ in range(4 * COUNT)} == {200}
    upstream.open(held, len(clients))
    answers = []
    for client in clients:
        with client:
            answers.append(client.answer())
    assert [answer.text for answer in answers if answer.whole] == ["ab"] * (len(clients) - lost)
    assert 0 < lost < len(clients)
    assert upstream.count(held) == len(clients), "no request was sent twice"


def test_a_request_that_was_sent_is_not_sent_again(replicas: Replicas, upstream: Upstream) -> None:
    """The replica is killed before the answer begins: its request may have been served, so its client decides."""
    silent = upstream.script(["hold"])
    with replicas.send(silent) as client:
        eventually(lambda: upstream.count(silent))
        (busy,) = [number for number, proxy in enumerate(replicas.proxies) if in_flight(proxy.port)]
        replicas.kill(busy)
        assert client.head().status == 502
    assert {replicas.chat().status for _ in range(4 * COUNT)} == {200}
    assert upstream.count(silent) == 1
