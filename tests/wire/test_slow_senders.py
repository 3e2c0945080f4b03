"""Clients that are slow to send: they are given up in time, and hold nothing that others need."""

from __future__ import annotations

import json
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import CHAT_BODY, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually

WORKER_CLASSES = ("gthread", "gevent", "sync")
HALF_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nX-A: "
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\n%s\r\n\r\n"
LENGTH = HEAD % (b"Content-Length: %d" % len(CHAT_BODY))
MIB = 1024 * 1024
#: What a slow client has sent, and what it is told.
SLOW = {
    "head": (HALF_HEAD, "client_header_timeout"),
    "body": (LENGTH + CHAT_BODY[:9], "client_body_timeout"),
    "no body": (LENGTH, "client_body_timeout"),
    "large body": (HEAD % (b"Content-Length: %d" % (2 * MIB)) + CHAT_BODY, "client_body_timeout"),
    "chunk": (HEAD % b"Transfer-Encoding: chunked" + b"9\r\n" + CHAT_BODY[:5], "client_body_timeout"),
    "chunks": (HEAD % b"Transfer-Encoding: chunked" + b"9\r\n" + CHAT_BODY[:9] + b"\r\n", "client_body_timeout"),
}


def closes(sock: socket.socket) -> bytes:
    """Read to the end of a connection: what came."""
    parts = []
    with suppress(ConnectionResetError):
        while data := sock.recv(65_536):
            parts.append(data)
    return b"".join(parts)


@contextmanager
def many(door: Proxy, count: int, data: bytes) -> Iterator[list[Client]]:
    """Hold connections on each of which something was sent."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(door.port, 120)) for _ in range(count)]
        for client in clients:
            client.sock.sendall(data)
        yield clients


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
@pytest.mark.parametrize("what", SLOW)
def test_a_slow_sender_is_told_and_let_go(serve: Serve, upstream: Upstream, worker_class: str, what: str) -> None:
    settings = {"CLIENT_HEADER_TIMEOUT": "0.5", "CLIENT_BODY_TIMEOUT": "0.5"}
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, **settings)
    sent, code = SLOW[what]
    with Client(door.port, 120) as client:
        client.sock.sendall(sent)
        answer = client.answer()
        assert (answer.status, answer.error["code"]) == (408, code)
        assert closes(client.sock) == b""
    assert chat(door.port).status == 200
    assert "Traceback" not in door.log()


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_silent_connection_is_closed_without_a_word(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    settings = {"CLIENT_HEADER_TIMEOUT": "0.5", "CLIENT_BODY_TIMEOUT": "0.5"}
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, **settings)
    with Client(door.port, 120) as client:
        assert closes(client.sock) == b""


def test_a_slow_body_is_given_up_before_a_key_is_asked_for(serve: Serve, upstream: Upstream) -> None:
    keys = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1"}
    door = serve(TARGET_BASE_URL=upstream.url, CLIENT_BODY_TIMEOUT="0.5", **keys)
    with Client(door.port, 120) as client:
        client.sock.sendall(LENGTH + CHAT_BODY[:9])
        assert client.answer().status == 408


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
@pytest.mark.parametrize("what", SLOW)
def test_slow_senders_hold_nothing_that_others_need(
    serve: Serve, upstream: Upstream, worker_class: str, what: str
) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, THREADS="4", CLIENT_HEADER_TIMEOUT="600")
    with many(door, 40, SLOW[what][0]):
        for _ in range(3):
            assert chat(door.port).status == 200
            assert ask(door.port, "GET", "/health/live").status == 200
    assert chat(door.port).status == 200


def test_a_large_body_waits_for_one_of_the_threads_that_may_read_it(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="4")
    large = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x" * 2 * MIB}]}).encode()
    head = HEAD % (b"Content-Length: %d" % len(large))
    with many(door, 6, head + large[:100_000]) as clients:
        for client in reversed(clients):
            client.sock.sendall(large[100_000:])
        assert [client.answer().status for client in clients] == [200] * 6


def test_a_large_body_that_was_read_makes_room_for_the_next_while_its_answer_is_awaited(
    serve: Serve, upstream: Upstream
) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2")
    large = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x" * 2 * MIB}]}).encode()
    script = upstream.script(["hold"])
    with Client(door.port) as waiting, Client(door.port) as other:
        waiting.send("POST", "/v1/chat/completions", large, X_Script=script)
        eventually(lambda: upstream.seen(script))
        other.send("POST", "/v1/chat/completions", large)
        assert other.answer().status == 200


def test_a_large_body_that_finds_no_thread_is_refused(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2", CLIENT_BODY_TIMEOUT="2", PORT_NAME="busy")
    head = HEAD % (b"Content-Length: %d" % (2 * MIB))
    statuses = []
    with many(door, 2, head + CHAT_BODY) as clients:
        for client in clients:
            answer = client.answer()
            statuses.append((answer.status, answer.error["code"]))
    assert (408, "client_body_timeout") in statuses
    assert set(statuses) <= {(408, "client_body_timeout"), (503, "too_many_uploads")}


def test_a_large_body_that_was_refused_is_not_read_later(start: Serve, upstream: Upstream) -> None:
    door = start(TARGET_BASE_URL=upstream.url, THREADS="2", CLIENT_BODY_TIMEOUT="2")
    large = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x" * 2 * MIB}]}).encode()
    head = HEAD % (b"Content-Length: %d" % len(large))
    with Client(door.port) as first, Client(door.port) as second:
        first.sock.sendall(head + large[:MIB])
        sent = MIB
        second.sock.sendall(head)
        while not select.select([second.sock], [], [], 0.5)[0]:
            first.sock.sendall(large[sent : sent + 1])
            sent += 1
        assert second.answer().error["code"] == "too_many_uploads"
        first.sock.sendall(large[sent:])
        assert first.answer().status == 200
        second.leave()
    with Client(door.port) as third:
        third.sock.sendall(head + large)
        door.line(third.answer().id)
    assert [line["status"] for line in door.lines()] == ["200"] * 2


def test_probes_are_answered_while_all_threads_are_busy(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2", PORT_NAME="probes")
    script = upstream.script(["hold"])
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(Client(door.port))
            client.send("POST", "/v1/chat/completions", CHAT_BODY, X_Script=script)
        eventually(lambda: upstream.count(script) == 2)
        for path in ("/health/live", "/health/ready", "/health", "/metrics"):
            assert ask(door.port, "GET", path).status == 200


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_an_endless_head_is_refused(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    with Client(door.port, 120) as client:
        with suppress(OSError):
            client.sock.sendall(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n" + b"X-A: %s\r\n" % (b"y" * 8000) * 20)
        assert client.head().status == 431
    assert chat(door.port).status == 200


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_request_in_pieces_is_served(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    request = LENGTH + CHAT_BODY
    for cut in range(1, len(request), 16):
        with Client(door.port) as client:
            client.sock.sendall(request[:cut])
            client.sock.sendall(request[cut:])
            assert client.answer().status == 200


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_pipelined_requests_are_served_in_turn(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    request = LENGTH + CHAT_BODY
    with Client(door.port) as client:
        client.sock.sendall(request + request + request[:40])
        assert [client.answer().status for _ in range(2)] == [200, 200]
        client.sock.sendall(request[40:])
        assert client.answer().status == 200


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_client_that_waits_for_continue_gets_it(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    with Client(door.port) as client:
        client.sock.sendall(HEAD % (b"Expect: 100-continue\r\nContent-Length: %d" % len(CHAT_BODY)))
        assert client.head().status == 100
        client.sock.sendall(CHAT_BODY)
        assert client.answer().status == 200


def test_a_head_that_can_not_be_parsed_is_refused_at_once(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="4", CLIENT_HEADER_TIMEOUT="600")
    odd: list[tuple[bytes, int]] = [
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /" + b"x" * 9000, 414),
        (HEAD % b"Content-Length: +5", 400),
        (HEAD % b"Transfer-Encoding: gzip", 400),
    ]
    for sent, status in odd:
        with many(door, 5, sent) as clients:
            assert [client.head().status for client in clients] == [status] * 5
        assert chat(door.port).status == 200


def test_a_full_worker_closes_who_has_idled_longest(start: Serve, upstream: Upstream) -> None:
    door = start(TARGET_BASE_URL=upstream.url, GUNICORN_CMD_ARGS="--worker-connections 20")
    with many(door, 60, HALF_HEAD):
        for _ in range(3):
            assert chat(door.port).status == 200
        (pid,) = door.workers()
    assert chat(door.port).status == 200
    assert door.workers() == [pid]


def test_clients_that_only_connect_leave_descriptors_for_requests(tmp_path: Path, upstream: Upstream) -> None:
    gunicorn = f"{sys.executable} -m gunicorn -c {ROOT}/gunicorn.conf.py --pythonpath {ROOT} cot_proxy:app"
    settings = {"WORKERS": "1", "THREADS": "4", "TARGET_BASE_URL": upstream.url}
    door = Proxy(tmp_path, settings, ["bash", "-c", f"ulimit -n 150; exec {gunicorn}"])
    try:
        with many(door, 200, HALF_HEAD):
            assert [chat(door.port).status for _ in range(3)] == [200] * 3
    finally:
        door.stop()


def test_bodies_that_are_never_completed_hold_a_bounded_amount_of_memory(start: Serve, upstream: Upstream) -> None:
    door = start(TARGET_BASE_URL=upstream.url)
    assert chat(door.port).status == 200
    before = door.peak_kib()
    head = HEAD % (b"Content-Length: %d" % MIB)
    with many(door, 200, head + b"x" * (MIB - 1)):
        assert chat(door.port).status == 200
    grown = door.peak_kib() - before
    print(f"{grown // 1024} MiB more for 200 bodies of 1 MiB without their last byte")
    assert grown < 130 * 1024


def test_large_bodies_that_wait_in_vain_hold_a_bounded_amount_of_memory(start: Serve, upstream: Upstream) -> None:
    """Each has sent as much as is collected of a body in chunks."""
    door = start(TARGET_BASE_URL=upstream.url, THREADS="2")
    assert chat(door.port).status == 200
    before = door.peak_kib()
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with many(door, 300, HEAD % b"Transfer-Encoding: chunked" + chunk * 18):
        with suppress(OSError):
            assert chat(door.port).status == 200
        grown = door.peak_kib() - before
    print(f"{grown // 1024} MiB more for 300 bodies of 1 MiB that wait for a thread")
    assert grown < 130 * 1024


def test_an_answer_that_comes_before_the_body_is_read_in_full(serve: Serve, upstream: Upstream) -> None:
    """A connection closed while its client still sends would be reset, and the answer lost."""
    keys: dict[str, Any] = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1"}
    door = serve(TARGET_BASE_URL=upstream.url, **keys)
    with Client(door.port) as client:
        client.sock.sendall(HEAD % (b"Content-Length: %d" % (8 * MIB)))
        client.sock.sendall(b"x" * 2 * MIB)
        answer = client.answer()
        assert (answer.status, answer.whole) == (401, True)


def test_a_client_that_reads_after_it_has_sent_all_gets_an_answer_that_came_early(
    serve: Serve, upstream: Upstream
) -> None:
    keys: dict[str, Any] = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1"}
    door = serve(TARGET_BASE_URL=upstream.url, **keys)
    body = b"x" * 24 * MIB
    with Client(door.port) as client:
        client.sock.sendall(HEAD % (b"Content-Length: %d" % len(body)) + body)
        assert client.answer().status == 401
