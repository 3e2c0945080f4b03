"""Many at once, and much of it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

LARGE = 256 * 1024 * 1024
EVENTS = 20
#: How long Gunicorn waits for a client that does not close its connection.
LINGER_S = 2.0
SLOW: list[list[Any]] = [
    ["send", CHUNKED],
    ["repeat", EVENTS, [["send", chunked(event("a"))], ["sleep", 0.05]]],
    ["send", bodies([event("", "stop"), DONE])],
]


def side_by_side(count: int, work: Callable[[], Answer]) -> tuple[list[Answer], list[threading.Thread]]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    return answers, threads


def test_200_slow_streams_run_side_by_side(serve: Serve, upstream: Upstream) -> None:
    """None of them ends before all have begun."""
    proxy = serve(TARGET_BASE_URL=upstream.url, WORKERS="4")
    script = upstream.script(["send", CHUNKED + chunked(event("a"))], ["await"], *SLOW[1:])
    answers, threads = side_by_side(200, lambda: chat(proxy.port, stream=True, headers={"X-Script": script}))
    eventually(lambda: upstream.count(script) == 200)
    upstream.open(script, 200)
    for thread in threads:
        thread.join()
    assert [answer.text for answer in answers] == ["a" * (1 + EVENTS)] * 200
    assert all(answer.body.endswith(DONE.encode()) for answer in answers)


def test_a_fifth_caller_is_answered_at_once(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, WORKERS="4")
    script = upstream.script(["await"], *SLOW)
    answers, threads = side_by_side(4, lambda: chat(proxy.port, stream=True, headers={"X-Script": script}))
    eventually(lambda: upstream.count(script) == 4)
    assert chat(proxy.port).status == 200
    assert answers == []
    upstream.open(script, 4)
    for thread in threads:
        thread.join()


def test_a_large_file_goes_down_in_flat_memory(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, PORT_NAME="down")
    chat(proxy.port)
    before = proxy.peak_kib()
    script = upstream.script(["send", f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"], ["fill", LARGE])
    taken = 0
    with Client(proxy.port) as client:
        client.send("GET", "/v1/files/big/content", X_Script=script)
        assert client.head().header("Content-Length") == str(LARGE)
        taken += len(client.rest())
        while taken < LARGE and (data := client.sock.recv(1 << 20)):
            taken += len(data)
    assert taken == LARGE
    grown = proxy.peak_kib() - before
    print(f"peak of a worker: {before // 1024} MiB before, {grown // 1024} MiB more for 256 MiB down")
    assert grown < 20 * 1024


def test_a_large_file_goes_up_in_flat_memory(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, PORT_NAME="up")
    chat(proxy.port)
    before = proxy.peak_kib()
    piece, digest = bytes(range(256)) * 4096, hashlib.sha256()
    with Client(proxy.port) as client:
        client.send("POST", "/v1/files", None, Content_Length=str(LARGE))
        for _ in range(LARGE // len(piece)):
            client.sock.sendall(piece)
            digest.update(piece)
        answer = client.answer()
    assert (answer.json["length"], answer.json["sha256"]) == (LARGE, digest.hexdigest())
    grown = proxy.peak_kib() - before
    print(f"peak of a worker: {before // 1024} MiB before, {grown // 1024} MiB more for 256 MiB up")
    assert grown < 20 * 1024


@pytest.mark.parametrize("how", ["at its own wish", "after a cut"])
def test_a_client_that_lingers_stalls_nobody(serve: Serve, upstream: Upstream, how: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    cut = upstream.script(["send", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"], ["close"])
    wish = {"Connection": "close"} if how == "at its own wish" else {"X-Script": cut}
    took = []
    for _ in range(5):
        with Client(proxy.port) as lingering:
            lingering.send("GET", "/v1/x", None, **wish)
            assert lingering.answer().status == 200
            begun = time.monotonic()
            assert ask(proxy.port, "GET", "/v1/x").status == 200
            took.append(time.monotonic() - begun)
    assert min(took) < LINGER_S / 2, "it did not wait for the one that lingers"


@pytest.mark.parametrize("settings", [{"THREADS": "4"}, {"WORKER_CLASS": "sync"}], ids=["gthread", "sync"])
def test_many_that_linger_stall_nobody_either(serve: Serve, upstream: Upstream, settings: dict[str, str]) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, **settings)
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    lingering = [Client(proxy.port) for _ in range(8)]
    begun = time.monotonic()
    for client in lingering:
        client.send("POST", "/v1/chat/completions", body, Connection="close")
        assert client.answer().status == 200
    assert ask(proxy.port, "GET", "/health/live").status == 200
    assert time.monotonic() - begun < len(lingering) * LINGER_S / 2
    for client in lingering:
        client.leave()
