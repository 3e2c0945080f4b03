"""Connections of the console's server: those that send nothing, or slowly, keep nobody out and no thread for long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from argoproxy.console.api_routes import ApiAnswer
from argoproxy.console.application import ConsoleApplication
from argoproxy.console.console_server import ConsoleServer

TOKEN = "token-of-the-console-0123456789"
MOST = 4
FIELDS = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"


class Routes:
    """Answers with what was asked; `/api/wait` when it may."""

    def __init__(self) -> None:
        self.is_waiting, self.may_answer = threading.Event(), threading.Event()

    def read(self, path: str, query: str, known: str) -> ApiAnswer:
        if path == "/api/wait":
            self.is_waiting.set()
            self.may_answer.wait()
        return ApiAnswer(200, (), path.encode())

    def act(self, path: str, body: bytes) -> ApiAnswer:
        return ApiAnswer(200, (), body)


@contextmanager
def serving(arrival_s: float = 600.0) -> Iterator[tuple[int, Routes]]:
    routes = Routes()
    server = ConsoleServer(("127.0.0.1", 0), ConsoleApplication(routes, TOKEN), MOST, arrival_s)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, routes
    finally:
        routes.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


def connect(port: int, sent: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 60.0)
    connection.sendall(sent.encode())
    return connection


def read_all(connection: Any) -> bytes:
    with closing(connection):
        data = b""
        while piece := connection.recv(65536):
            data += piece
        return data


def ask(port: int, path: str = "/api/now") -> bytes:
    return read_all(connect(port, f"GET {path} HTTP/1.1\r\n{FIELDS}\r\n"))


def test_silent_connections_keep_nobody_out() -> None:
    with serving() as (port, _), ExitStack() as held:
        silent = [held.enter_context(closing(connect(port, "GET /api/now HTTP/1.1\r\n"))) for _ in range(10 * MOST)]
        assert ask(port).endswith(b"/api/now")
        assert silent[0].recv(1) == b""


def test_who_is_being_answered_is_not_sent_away() -> None:
    with serving() as (port, routes), ExitStack() as held:
        waiting = connect(port, f"GET /api/wait HTTP/1.1\r\n{FIELDS}\r\n")
        assert routes.is_waiting.wait(60)
        for _ in range(3 * MOST):
            held.enter_context(closing(connect(port)))
            assert ask(port).endswith(b"/api/now")
        routes.may_answer.set()
        assert read_all(waiting).endswith(b"/api/wait")


@pytest.mark.parametrize("head", ["GET /api/now HTTP/1.1\r\nHost: loc", f"POST /api/x HTTP/1.1\r\n{FIELDS}"])
def test_a_request_that_does_not_arrive_in_time_ends(head: str) -> None:
    with serving(0.05) as (port, _):
        body = "Content-Length: 1000\r\n\r\n{" if head.startswith("POST") else ""
        assert b"200 OK" not in read_all(connect(port, head + body))
