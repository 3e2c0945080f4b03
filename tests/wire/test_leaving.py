"""Clients that leave: in every phase, in every worker, over plain connections and TLS."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import CHAT_BODY, STREAM_BODY, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event, reply

#: The default kind of worker meets both kinds of connection, each other one of them; LAB=full pairs them all.
PAIRWISE = [("gthread", "plain"), ("gthread", "tls"), ("gevent", "tls"), ("sync", "plain")]
ALL_PAIRS = [(worker_class, wire) for worker_class in ("gthread", "gevent", "sync") for wire in ("plain", "tls")]


@pytest.fixture(params=ALL_PAIRS if os.environ.get("LAB") == "full" else PAIRWISE, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def worker_class(pair: tuple[str, str]) -> str:
    return pair[0]


@pytest.fixture
def both(pair: tuple[str, str], upstream: Upstream, tls_upstream: Upstream) -> Upstream:
    return upstream if pair[1] == "plain" else tls_upstream


@pytest.fixture
def door(serve: Serve, both: Upstream, worker_class: str, ca_file: Path) -> Proxy:
    return serve(TARGET_BASE_URL=both.url, WORKER_CLASS=worker_class, REQUESTS_CA_BUNDLE=str(ca_file))


SLOW: list[Any] = ["repeat", 400, [["send", chunked(event("hm "))], ["sleep", 0.05]]]
#: phase: the steps of the upstream, the request, and what the client waits for before it leaves
PHASES: dict[str, tuple[list[Any], str, bytes, bytes]] = {
    "before the head": ([["hold"]], "/v1/chat/completions", STREAM_BODY, b""),
    "in half a head": ([["send", "HTTP/1.1 200 OK\r\nX:"], ["hold"]], "/v1/chat/completions", STREAM_BODY, b""),
    "before a plain answer": ([["hold"]], "/v1/chat/completions", CHAT_BODY, b""),
    "while a plain answer arrives": ([["send", CHUNKED], SLOW], "/v1/chat/completions", CHAT_BODY, b""),
    "between events": ([["send", CHUNKED], SLOW], "/v1/chat/completions", STREAM_BODY, b"hm"),
    "in silence": (
        [["send", CHUNKED + chunked(event("a"))], ["hold"]],
        "/v1/chat/completions",
        STREAM_BODY,
        b"content",
    ),
    "in half an event": (
        [["send", CHUNKED + chunked(event("a")) + "100\r\ndata: {"], ["hold"]],
        "/v1/chat/completions",
        STREAM_BODY,
        b"content",
    ),
    "while thoughts are stripped": (
        [["send", CHUNKED + chunked(event("<think>"))], SLOW],
        "/v1/chat/completions",
        STREAM_BODY,
        b"200 OK",
    ),
    "on a forwarded path": ([["send", CHUNKED + chunked("x")], ["hold"]], "/v1/other", b"x", b"x\r\n"),
    "before the head of a forwarded path": ([["hold"]], "/v1/other", b"x", b""),
    "waiting for embeddings": ([["hold"]], "/v1/embeddings", b'{"model": "m1", "input": "x"}', b""),
}


def last_ending(door: Proxy) -> str:
    lines = door.lines()
    return lines[-1]["ending"] if lines else ""


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves_frees_the_upstream(door: Proxy, both: Upstream, phase: str) -> None:
    steps, path, body, mark = PHASES[phase]
    script = both.script(*steps)
    with Client(door.port) as client:
        client.send("POST", path, body, X_Script=script)
        if mark:
            client.until(mark)
        else:
            eventually(lambda: both.seen(script))
    assert both.left(script)
    eventually(lambda: last_ending(door) == "client_gone")
    assert "Traceback" not in door.log()
    assert "[ERROR]" not in door.log()
    assert chat(door.port).status == 200


def test_a_client_that_leaves_during_an_upload(door: Proxy, both: Upstream) -> None:
    script = both.script(["hold"], body="hang")
    with Client(door.port) as client:
        client.send("POST", "/v1/files", b"x" * 5_000_000, Content_Length="30000000", X_Script=script)
        eventually(lambda: both.seen(script))
    assert both.left(script)
    eventually(lambda: last_ending(door) == "client_gone")
    assert "Traceback" not in door.log()


def test_a_half_closed_client_counts_as_gone(door: Proxy, both: Upstream) -> None:
    script = both.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    with Client(door.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        client.until(b"content")
        client.sock.shutdown(1)
        assert both.left(script)


def test_a_normal_end_keeps_the_connection(door: Proxy, both: Upstream) -> None:
    script = both.script(["send", CHUNKED + bodies([event("a", "stop"), DONE])])
    for _ in range(5):
        streamed = chat(door.port, stream=True, headers={"X-Script": script})
        assert streamed.text == "a"
        assert door.line(streamed.id), "by now the connection is let go"
        plain = chat(door.port, headers={"X-Script": script})
        assert plain.status == 200
        assert door.line(plain.id)
    assert len({seen["connection"] for seen in both.seen(script)}) == 1


def test_a_reply_before_the_upload_is_through(door: Proxy, both: Upstream) -> None:
    script = both.script(reply("401 Unauthorized", b"no", Connection="close"), ["hold"], body="ignore")
    answer = ask(door.port, "POST", "/v1/files", b"x" * 20_000_000, X_Script=script)
    assert (answer.status, answer.body) == (401, b"no")
    hung = both.script(reply("413 Too Large", b"no", Connection="close"), ["stall", 0.5], ["hold"], body="ignore")
    answer = ask(door.port, "POST", "/v1/files", b"x" * 20_000_000, X_Script=hung)
    assert (answer.status, answer.body) == (413, b"no")


def test_300_aborted_streams_leave_no_descriptor(door: Proxy, both: Upstream) -> None:
    script = both.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    door.line(chat(door.port).id)
    before = door.descriptors()
    for _ in range(300):
        with Client(door.port) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
            client.until(b"content")
    eventually(lambda: len([seen for seen in both.seen(script) if seen["left"]]) == 300)
    eventually(lambda: door.descriptors() <= before)
    assert chat(door.port).status == 200


class Arrivals:
    """Which of many requests have come as far as the upstream."""

    def __init__(self, upstream: Upstream, scripts: list[str]) -> None:
        self._upstream, self._scripts = upstream, scripts
        self._came = threading.Condition()
        self._numbers: set[int] = set()

    def look(self) -> None:
        requests = (one for script in self._scripts for one in self._upstream.seen(script))
        seen = {number_of(one) for one in requests if one["body"]}  # others are still being read
        with self._came:
            self._numbers = seen
            self._came.notify_all()

    def wait_for(self, number: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: number in self._numbers, PATIENCE_S)


def number_of(seen: dict[str, Any]) -> int:
    return int(seen["body"].split("number ")[1].partition(".")[0])


def leave(door: Proxy, script: str, number: int, linger: Callable[[], None]) -> None:
    """Ask, for a stream unless three divides the number, and leave after a while."""
    message = {"role": "user", "content": f"number {number}."}
    body = json.dumps({"model": "m1", "messages": [message], "stream": number % 3 > 0}).encode()
    with Client(door.port) as client:
        client.send("POST", "/v1/chat/completions", body, X_Script=script)
        linger()


def test_500_clients_leave_at_random_moments(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKERS="2", CONNECT_TIMEOUT="600")
    half = [["send", "HTTP/1.1 200 OK\r\nX:"], ["hold"]]
    begun = [["send", CHUNKED + chunked(event("a"))], ["hold"]]
    scripts = [upstream.script(*steps) for steps in ([["hold"]], half, begun, [["send", CHUNKED], SLOW])]
    moments, arrivals, threads = random.Random(500), Arrivals(upstream, scripts), list[threading.Thread]()

    def linger(number: int, seconds: float) -> None:
        """Stay for a random time; two of three first wait for the upstream to have their request."""
        if number % 5 > 1:
            arrivals.wait_for(number)
        time.sleep(seconds)

    for number in range(500):
        arguments = (door, scripts[number % len(scripts)], number, partial(linger, number, moments.uniform(0, 0.5)))
        threads.append(threading.Thread(target=leave, args=arguments))
        threads[-1].start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            arrivals.look()
    eventually(lambda: len(door.lines()) == 500)
    assert {line["ending"] for line in door.lines()} == {"client_gone"}
    counted = ask(door.port, "GET", "/metrics", Accept="application/json").json
    assert counted["requests"]["by_ending"] == {"client_gone": 500}
    assert counted["in_flight"] == 0
    asked = [seen for script in scripts for seen in upstream.seen(script)]
    assert len(asked) >= 300, "those that waited for it"
    eventually(lambda: all(seen["left"] for script in scripts for seen in upstream.seen(script)))
    assert [chat(door.port).status for _ in range(200)] == [200] * 200
