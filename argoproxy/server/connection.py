"""A client's connection in a worker that polls it, with the request that is being collected."""

from __future__ import annotations

import socket
import time
from enum import Enum
from functools import partial
from typing import Any, Protocol

from gunicorn.workers.gthread import TConn

from argoproxy.errors import ClientTooSlow
from argoproxy.server.client_socket import TimedSocket
from argoproxy.server.client_timeouts import ClientTimeouts
from argoproxy.server.request_scanner import Progress, RequestScanner


class Wait(Enum):
    """What the main thread waits for on a connection."""

    REQUEST = "a request"
    THREAD = "a thread that may read a large body"
    GOODBYE = "the client's closing"


class Worker(Protocol):
    """What a connection needs of its worker."""

    cfg: Any
    timeouts: ClientTimeouts
    method_queue: Any

    def receive(self, conn: Connection, sock: object) -> None:
        """Take what a client has sent."""

    def release(self, conn: Connection) -> None:
        """Let the next large body be read, where this one has been."""


class PooledSocket(TimedSocket):
    """A socket from which a thread may read only the body that its connection was given leave to read."""

    connection: Connection

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read some bytes. Raises ClientTooSlow, also for a body nobody knew of."""
        if self.gettimeout() is None and not self.connection.reads_body:
            raise ClientTooSlow
        piece = super().recv(bufsize, flags)
        if self.connection.reads_body:
            self.connection.count(piece)
        return piece


class Connection(TConn):  # type: ignore[misc]
    """A client's connection, with the request that is being collected."""

    def __init__(self, worker: Worker, client: socket.socket, address: Any, server: Any) -> None:
        sock = PooledSocket(client.family, client.type, client.proto, fileno=client.detach())
        super().__init__(worker.cfg, sock, address, server)
        sock.connection = self
        sock.timeouts = worker.timeouts
        sock.expect_body()
        self.data_ready = True
        self.request = RequestScanner()
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + worker.timeouts.head_s
        #: Whether a thread may read from it, until the body is complete.
        self.reads_body = False
        self.on_readable = partial(worker.receive, self)
        self._on_body_read = partial(worker.method_queue.defer, worker.release, self)
        #: Bytes of the request that its worker has counted.
        self.collected = 0
        self._begun = 0.0

    def expect_request(self, keepalive_s: float) -> None:
        """Begin to collect the next request."""
        self.sock.settimeout(0)
        self.request = RequestScanner()
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + keepalive_s

    def feed(self, piece: bytes) -> Progress:
        """Add what came to the request; its deadline follows."""
        before = self.request.progress
        progress = self.request.feed(piece)
        if progress in (Progress.HEAD, Progress.BODY):
            now, timeouts = time.monotonic(), self.sock.timeouts
            if progress is not before:
                self._begun = now
            if progress is Progress.BODY:
                self.deadline = timeouts.body_deadline(self._begun, now, self.request.received)
            elif progress is not before:
                self.deadline = now + timeouts.head_s
        return progress

    def count(self, piece: bytes) -> None:
        """Take note of a part of the body that a thread has read."""
        if not piece or self.request.count(piece) is not Progress.LONG_BODY:
            self.reads_body = False
            self._on_body_read()
