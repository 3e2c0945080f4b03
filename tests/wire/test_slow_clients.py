"""Clients that read or send slowly, or not at all: they cost the others nothing, and are given up in time."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import CHAT_BODY, STREAM_BODY, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nContent-Length: %d\r\n\r\n" % len(CHAT_BODY)
FLOOD: list[Any] = ["repeat", 600, [["send", chunked(event("x" * 65_536))]]]
OF_EACH_KIND = 20
#: Listens as systemd does for a service, and becomes Gunicorn, with the connections that wait, when a file is there.
SOCKET_ACTIVATION = """
import os, pathlib, socket, sys, time
os.dup2(socket.create_server(("127.0.0.1", int(os.environ["PORT"]))).detach(), 3)
os.set_inheritable(3, True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *sys.argv[1:]])
"""
#: In yardsticks: much less than whoever waits for a thread of the door has to wait.
MOST = 10


def endings(door: Proxy) -> list[str]:
    return [line["ending"] for line in door.lines()]


@contextmanager
def dripping(clients: list[Client], data: bytes) -> Iterator[None]:
    """Send a byte a second from each of the clients meanwhile."""
    enough = threading.Event()

    def drip() -> None:
        for place in range(len(data)):
            for client in clients:
                with suppress(OSError):
                    client.sock.send(data[place : place + 1])
            if enough.wait(1):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def assert_as_fast(door: Proxy, yardstick: Proxy) -> None:
    """See that a chat takes about as long as with a door that nobody else uses, asked at the same time."""
    took: dict[Proxy, list[float]] = {door: [], yardstick: []}
    for _ in range(30):
        for asked, times in took.items():
            begun = time.monotonic()
            assert chat(asked.port).status == 200
            times.append(time.monotonic() - begun)
    assert min(took[door]) < MOST * statistics.median(took[yardstick])


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_a_client_that_stops_reading_is_given_up(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, CLIENT_WRITE_TIMEOUT="1")
    script = upstream.script(["send", CHUNKED], FLOOD, ["hold"])
    with Client(door.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        client.until(b"content")
        assert eventually(lambda: endings(door)) == ["client_gone"]
        assert upstream.left(script)
    assert "Traceback" not in door.log()
    assert chat(door.port).status == 200


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_a_client_that_came_before_the_start_is_given_up(upstream: Upstream, tmp_path: Path, worker_class: str) -> None:
    environ = {"TARGET_BASE_URL": upstream.url, "WORKER_CLASS": worker_class, "CLIENT_WRITE_TIMEOUT": "1"}
    gunicorn = ["-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), "cot_proxy:app"]
    door = Proxy(tmp_path, {**environ, "WORKERS": "1"}, [sys.executable, "-c", SOCKET_ACTIVATION, *gunicorn])
    try:
        script = upstream.script(["send", CHUNKED], FLOOD, ["hold"])
        with Client(door.port) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
            (tmp_path / "go").touch()
            client.until(b"content")
            assert eventually(lambda: endings(door)) == ["client_gone"]
    finally:
        door.stop()


def test_a_client_that_reads_slowly_gets_all(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, CLIENT_WRITE_TIMEOUT="3")
    script = upstream.script(["send", CHUNKED], FLOOD, ["send", bodies([event("", "stop"), DONE])])
    begun, received, tail = time.monotonic(), 0, b""
    with Client(door.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = client.sock.recv(1 << 18)
            assert piece, "the connection ended"
            received, tail = received + len(piece), (tail + piece)[-64:]
            time.sleep(0.03)
    assert DONE.encode() in tail
    assert received > 600 * 65_536
    assert time.monotonic() - begun > 3


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_slow_clients_cost_the_others_nothing(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, CLIENT_WRITE_TIMEOUT="5")
    script = upstream.script(["send", CHUNKED], FLOOD, ["hold"])
    yardstick = serve(TARGET_BASE_URL=upstream.url)
    with ExitStack() as stack:
        heads, uploads, deaf = ([stack.enter_context(Client(door.port)) for _ in range(OF_EACH_KIND)] for _ in range(3))
        for client in uploads:
            client.sock.send(HEAD)
        for client in deaf:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        with dripping(heads, HEAD), dripping(uploads, CHAT_BODY):
            eventually(lambda: upstream.count(script) == OF_EACH_KIND)
            assert_as_fast(door, yardstick)
            eventually(lambda: endings(door).count("client_gone") == OF_EACH_KIND)
            assert_as_fast(door, yardstick)
    assert_as_fast(door, yardstick)
