"""A client's connection in a worker that polls it, with the request that is being collected."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from gunicorn.workers.gthread import TConn

from argoproxy.errors import ClientTooSlow
from argoproxy.workers.client_socket import TimedSocket, replace_socket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.request_scanner import RequestScanner, RequestState


class Wait(Enum):
    """What the worker's main thread waits for on a connection."""

    REQUEST = "a request"
    WRITABLE = "room for the next answer: the client has not read earlier ones"
    THREAD = "a thread that may read a large body"
    CLOSE = "the end of the client's half, after ours was closed"


class CollectedSocket(TimedSocket):
    """A socket whose requests the main thread collects. A thread may read a body from it only after `allow_reading`."""

    #: Reads without a limit of time, for the main thread, whose sockets don't block.
    recv_now = socket.socket.recv

    _body: RequestScanner | None = None
    _on_end: Callable[[], None] = staticmethod(lambda: None)

    def allow_reading(self, body: RequestScanner, on_end: Callable[[], None]) -> None:
        """Let a thread read a body; `on_end` is called in that thread when it is complete, or its connection ends."""
        self._body, self._on_end = body, on_end

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read some bytes. Raises ClientTooSlow, in a thread also for bytes that it may not read."""
        if self.gettimeout() is None and self._body is None:
            raise ClientTooSlow
        piece = super().recv(bufsize, flags)
        if self._body is not None and (not piece or self._body.follow(piece) is not RequestState.LONG_BODY):
            self._on_end()
            del self._body, self._on_end
        return piece


class Connection(TConn):  # type: ignore[misc]
    """A client's connection, with the request that is being collected. Nothing it refers to refers to it: a reference
    cycle would keep its buffers until the garbage collector runs."""

    def __init__(self, cfg: Any, client: socket.socket, address: Any, server: Any, timeouts: ClientTimeouts) -> None:
        sock = replace_socket(client, CollectedSocket, timeouts)
        sock.expect_body()
        super().__init__(cfg, sock, address, server)
        self.descriptor = sock.fileno()
        #: Gunicorn's own: its threads need not wait for data.
        self.data_ready = True
        self.request = RequestScanner()
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + timeouts.head_s
        #: Bytes of the request, as far as they count for the limit of all connections of the worker.
        self.collected = 0
        self._begun = 0.0
        self._poll: select.poll | None = None

    def is_writable(self) -> bool:
        """Return whether a thread can write an answer without waiting for the client to read earlier ones."""
        if self.parser is None:  # nothing was written yet
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.descriptor, select.POLLOUT)
        return bool(self._poll.poll(0))

    def expect_request(self, keepalive_s: float) -> None:
        """Begin to collect the next request."""
        self.sock.settimeout(0)
        self.request = RequestScanner()
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + keepalive_s

    def feed(self, piece: bytes) -> RequestState:
        """Add bytes to the request and move its deadline."""
        before = self.request.progress
        progress = self.request.feed(piece)
        if progress in (RequestState.HEAD, RequestState.BODY):
            now, timeouts = time.monotonic(), self.sock.timeouts
            if progress is not before:
                self._begun = now
            if progress is RequestState.BODY:
                self.deadline = timeouts.body_deadline(self._begun, now, self.request.received)
            elif progress is not before:
                self.deadline = now + timeouts.head_s
        return progress
