"""What a thread does with a connection while it waits for the next request."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from argoproxy.workers.client_connection import Connection
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.plain_request import PlainRequest
from argoproxy.workers.request_scanner import RequestState

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Connection]]:
    """A client, and its connection after a first request, as a thread has it."""
    client, server = socket.socketpair()
    config = Config()
    config.set("limit_request_line", 8190)
    conn = Connection(config, server, ("127.0.0.1", 1), ("127.0.0.1", 2), ClientTimeouts(60, 60, 60, 0))
    conn.init()
    with client, conn.sock:
        yield client, conn


def test_the_next_plain_request_is_served_at_once(ends: tuple[socket.socket, Connection]) -> None:
    client, conn = ends
    for _ in range(2):
        client.sendall(GET)
        assert conn.receive_soon()
        conn.hand_to_parser()
        assert isinstance(next(conn.parser), PlainRequest)


@pytest.mark.parametrize("data", [GET[:9], GET + GET, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"x\n"])
def test_whatever_else_comes_is_left_for_the_main_thread(ends: tuple[socket.socket, Connection], data: bytes) -> None:
    client, conn = ends
    client.sendall(data)
    assert not conn.receive_soon()
    assert conn.parser.unreader.take_buffered() == data


def test_a_client_that_sends_nothing_or_leaves_is_not_waited_for(ends: tuple[socket.socket, Connection]) -> None:
    client, conn = ends
    assert not conn.receive_soon()
    client.close()
    assert not conn.receive_soon()
    assert conn.parser.unreader.take_buffered() == b""


def test_a_client_is_quick_if_its_request_follows_an_answer_at_once(
    ends: tuple[socket.socket, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    _, conn = ends
    for pause_s, is_quick in ((0.001, True), (1.0, False), (0.019, True)):
        conn.expect_request(60)
        clock += pause_s
        assert conn.feed(GET) is RequestState.READY
        assert conn.is_quick is is_quick
