"""Clients that send requests and don't read the answers: they hold no thread, whether or not they have a key."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.client import Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually

REQUEST = b"GET %s HTTP/1.1\r\nHost: door\r\n\r\n"
#: More answers than a connection of small segments can hold.
MANY = 2000
SMALL_SEGMENT = 200
#: Bytes of answers under way after which a few more fill the connection.
NEARLY_FULL = 10_000
#: Between two looks at all connections of the machine: the kernel takes milliseconds for the list.
PAUSE_S = 0.25


def send_without_reading(port: int, path: bytes) -> socket.socket:
    """Return a connection that is full of answers."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(1)
    with suppress(TimeoutError):
        sock.sendall(REQUEST % path * MANY)
    eventually(lambda: bytes_under_way(port, sock.getsockname()[1]) > NEARLY_FULL, longest_pause_s=PAUSE_S)
    return sock


def bytes_under_way(from_port: int, to_port: int) -> int:
    """Return how much of what was sent has not arrived yet (proc(5), /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = (f"{from_port:04X}", f"{to_port:04X}")
    return sum(int(row[4].split(":")[0], 16) for row in rows if (row[1][-4:], row[2][-4:]) == ends)


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
@pytest.mark.parametrize("path", [b"/health/live", b"/v1/models", b"/metrics"])
def test_unread_answers_hold_nothing_that_others_need(
    serve: Serve, upstream: Upstream, worker_class: str, path: bytes
) -> None:
    keys = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1", "CLIENT_WRITE_TIMEOUT": "600"}
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2", WORKER_CLASS=worker_class, **keys)
    key = {"Authorization": "Bearer k-1"}
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(send_without_reading(door.port, path))
        for _ in range(3):
            assert chat(door.port, headers=key).status == 200
            assert ask(door.port, "GET", "/health/live").status == 200
            assert ask(door.port, "GET", "/metrics", Authorization="Bearer k-1").status == 200


def test_unread_metrics_are_given_up_so_that_others_get_them(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2", CLIENT_WRITE_TIMEOUT="600")
    for number in range(40):  # each has rows of its own in the answer, which gets too long for the buffers
        chat(door.port, model=f"{number}" * 100)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(send_without_reading(door.port, b"/metrics"))
        assert ask(door.port, "GET", "/metrics").status == 200
    assert "Traceback" not in door.log()


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_who_reads_late_gets_all_answers(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    with Client(door.port) as client:
        client.leave()
        client.sock = send_without_reading(door.port, b"/health/live")
        client.sock.settimeout(120)
        assert [client.answer().status for _ in range(MANY)] == [200] * MANY


def test_a_client_that_never_reads_is_given_up(start: Serve, upstream: Upstream) -> None:
    door = start(TARGET_BASE_URL=upstream.url, THREADS="2", CLIENT_WRITE_TIMEOUT="1")
    with Client(door.port) as client:
        client.sock.settimeout(1)
        sent = send_until_blocked(client.sock, REQUEST % b"/metrics")
        eventually(lambda: not is_open(door.port, client.sock.getsockname()[1]), longest_pause_s=PAUSE_S)
        assert count_answers(client) < sent
    assert "Traceback" not in door.log()


def send_until_blocked(sock: socket.socket, data: bytes) -> int:
    """Send data again and again until nothing more is taken; return how often it was sent whole."""
    count = 0
    with suppress(TimeoutError, ConnectionError):
        while True:
            sock.sendall(data)
            count += 1
    return count


def is_open(from_port: int, to_port: int) -> bool:
    """Return whether the kernel still has this connection (proc(5), /proc/net/tcp)."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return (f"{from_port:04X}", f"{to_port:04X}") in {(row[1][-4:], row[2][-4:]) for row in rows}


def count_answers(client: Client) -> int:
    """Return how many whole answers have arrived."""
    count = 0
    with suppress(AssertionError, OSError):
        while client.answer().whole:
            count += 1
    return count
