"""A client's connection in a worker that polls it, with the request that is being collected."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from gunicorn.workers.gthread import TConn

from argoproxy.errors import ClientTooSlow
from argoproxy.workers.client_socket import TimedSocket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.request_scanner import Progress, RequestScanner


class Wait(Enum):
    """What the worker's main thread waits for on a connection."""

    REQUEST = "a request"
    READER = "the client's reading of earlier answers"
    THREAD = "a thread that may read a large body"
    GOODBYE = "the client's closing"


class PooledSocket(TimedSocket):
    """A socket from which a thread may read a body only after it was given leave to do so."""

    #: Reads what is there, for whoever keeps the time.
    recv_now = socket.socket.recv

    _body: RequestScanner | None = None
    _on_end: Callable[[], None] = staticmethod(lambda: None)

    def let_thread_read(self, body: RequestScanner, on_end: Callable[[], None]) -> None:
        """Let a thread read a body; `on_end` is called in that thread when it is complete, or its connection ends."""
        self._body, self._on_end = body, on_end

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read some bytes. Raises ClientTooSlow, in a thread also for a body that it was not given leave to read."""
        if self.gettimeout() is None and self._body is None:
            raise ClientTooSlow
        piece = super().recv(bufsize, flags)
        if self._body is not None and (not piece or self._body.count(piece) is not Progress.LONG_BODY):
            self._on_end()
            del self._body, self._on_end
        return piece


class Connection(TConn):  # type: ignore[misc]
    """A client's connection, with the request that is being collected. Refers to nothing that refers to it: what it
    holds is given back with the last reference, not when garbage is collected."""

    def __init__(self, cfg: Any, client: socket.socket, address: Any, server: Any, timeouts: ClientTimeouts) -> None:
        sock = PooledSocket(client.family, client.type, client.proto, fileno=client.detach())
        sock.timeouts = timeouts
        sock.expect_body()
        super().__init__(cfg, sock, address, server)
        self.descriptor = sock.fileno()
        self.data_ready = True
        self.request = RequestScanner()
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + timeouts.head_s
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
        """Add what came to the request; the deadline follows."""
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
