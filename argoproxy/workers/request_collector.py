"""Collects clients' requests where a worker polls, so that its threads only get complete ones.

Heads and bodies of up to 1 MiB are collected here, in the worker's main thread. Larger bodies are read by threads, only
so many at a time. A connection that the proxy closes stays here until its client has closed too, so that no thread
lingers.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from argoproxy.workers import error_responses
from argoproxy.workers.client_connection import ClientPoll, Connection, Wait
from argoproxy.workers.client_timeouts import LINGER_S
from argoproxy.workers.plain_request import PIECE
from argoproxy.workers.request_scanner import RequestState

#: Bytes of incomplete requests, over all connections of a worker.
COLLECTED_LIMIT = 64 * 1024 * 1024


class Server(Protocol):
    """What the collector needs of its worker."""

    def enqueue_req(self, conn: Any) -> None:
        """Have a request served in a thread."""

    def count_closed(self) -> None:
        """Count one connection fewer."""

    def run_soon(self, work: Callable[[Connection], None], conn: Connection) -> None:
        """Run a function in the main thread; may be called from any thread."""


class RequestCollector:
    """The connections of a worker that no thread serves."""

    def __init__(self, server: Server, uploads_at_once: int) -> None:
        self._server = server
        #: In the order in which their wait began.
        self._waiting: dict[Connection, None] = {}
        self._collected = 0
        self._uploads = UploadQueue(uploads_at_once)
        self.poll = ClientPoll()

    def handle_events(self, _poll: object) -> None:
        """Go on with the connections on which something happened."""
        for conn in self.poll.ready():
            if conn.wait is Wait.WRITABLE:
                self._serve(conn)
            else:
                self.receive(conn)

    def receive(self, conn: Connection) -> None:
        """Read what has arrived on a connection, and wait for more or have the request served."""
        try:
            piece = conn.sock.recv_now(PIECE)
        except (BlockingIOError, InterruptedError):
            self._wait_for_bytes(conn)
            return
        except OSError:
            piece = b""
        if not piece:
            self.drop(conn)
        elif conn.wait is Wait.CLOSE:
            self._wait_for_bytes(conn)
        else:
            self._add(conn, piece)

    def receive_next(self, conn: Connection, within_s: float) -> None:
        """Wait for the next request on a connection whose last one was answered. Raises OSError."""
        read_ahead = conn.parser.unreader.take_buffered()
        conn.expect_request(within_s)
        if read_ahead:
            self._add(conn, read_ahead)
        else:
            self._wait_for_bytes(conn)

    def _add(self, conn: Connection, piece: bytes) -> None:
        progress = conn.feed(piece)
        conn.collected += len(piece)
        self._collected += len(piece)
        if progress in (RequestState.HEAD, RequestState.BODY):
            self._wait_for_bytes(conn)
        elif progress is RequestState.LONG_HEAD:
            self._refuse(conn, error_responses.LONG_HEAD)
        elif conn.is_writable():
            self._serve(conn)
        else:
            self._wait_until_writable(conn)
        if self._collected > COLLECTED_LIMIT:
            self.close_longest_waiting()

    def _serve(self, conn: Connection) -> None:
        if conn.request.progress is RequestState.LONG_BODY:
            self._queue_upload(conn)
        else:
            self._forget(conn)
            self._server.enqueue_req(conn)

    def _wait_for_bytes(self, conn: Connection) -> None:
        self._waiting[conn] = None
        self.poll.expect_readable(conn)

    def _wait_until_writable(self, conn: Connection) -> None:
        conn.wait = Wait.WRITABLE
        conn.deadline = time.monotonic() + conn.sock.timeouts.keepalive_s
        self._waiting[conn] = None
        self.poll.expect_writable(conn)

    def _forget(self, conn: Connection) -> None:
        """Remove a connection that a thread serves from now on, or that is closed."""
        self._waiting.pop(conn, None)
        self._uploads.remove(conn)
        self._collected -= conn.collected
        conn.collected = 0

    # Large bodies.

    def _queue_upload(self, conn: Connection) -> None:
        """Have a large body read by a thread, as soon as one may."""
        self._waiting[conn] = None
        conn.wait = Wait.THREAD
        conn.deadline = time.monotonic() + conn.sock.timeouts.body_s
        self._uploads.add(conn)
        self._begin_uploads()

    def _begin_uploads(self) -> None:
        for conn in self._uploads.begin():
            self._forget(conn)
            conn.sock.allow_reading(conn.request, partial(self._server.run_soon, self.end_upload, conn))
            self._server.enqueue_req(conn)

    def end_upload(self, conn: Connection) -> None:
        """Let the next large body be read, if this connection's was being read."""
        if conn in self._uploads:
            self._uploads.end(conn)
            self._begin_uploads()

    # Closing.

    def close_expired(self) -> int:
        """Close the connections whose deadline is over; return how many of their requests were late."""
        now, late = time.monotonic(), 0
        for conn in [conn for conn in self._waiting if conn.deadline <= now]:
            progress = conn.request.progress
            if conn.wait in (Wait.CLOSE, Wait.WRITABLE) or progress is RequestState.NOTHING:
                self.drop(conn)
            elif conn.wait is Wait.THREAD:
                self._refuse(conn, error_responses.OVERLOADED)
            else:
                late += 1
                is_head = progress is RequestState.HEAD
                self._refuse(conn, error_responses.LATE_HEAD if is_head else error_responses.LATE_BODY)
        return late

    def close_idle_by(self, deadline: float) -> None:
        """Have idle connections close soon: the worker stops."""
        for conn in self._waiting:
            if conn.wait is Wait.REQUEST and not conn.collected:
                conn.deadline = min(conn.deadline, deadline)

    def close_longest_waiting(self) -> None:
        """Close the connection that has waited longest; of those with bytes of a request, where these are too many."""
        is_too_much = self._collected > COLLECTED_LIMIT
        longest = next((conn for conn in self._waiting if conn.collected or not is_too_much), None)
        if longest is not None:
            self.drop(longest)

    def close_all(self) -> None:
        """Close all connections that no thread serves."""
        for conn in tuple(self._waiting):
            self.drop(conn)

    def _refuse(self, conn: Connection, response: bytes) -> None:
        self._forget(conn)
        with suppress(OSError):
            conn.sock.send(response)
        self.close_gracefully(conn)

    def close_gracefully(self, conn: Connection) -> None:
        """Close our half, and the connection when its client has closed too.

        A socket that is closed while its client still sends answers with a reset, on which the client's kernel drops
        what the client has not read yet of its answer (RFC 9112 section 9.6).
        """
        if conn.request.progress is not RequestState.READY:
            with suppress(OSError):
                conn.sock.settimeout(0)
                conn.sock.shutdown(socket.SHUT_WR)
                conn.wait = Wait.CLOSE
                conn.deadline = time.monotonic() + LINGER_S
                self._wait_for_bytes(conn)
                return
        self.drop(conn)

    def drop(self, conn: Connection) -> None:
        """Close a connection at once."""
        self._forget(conn)
        self.poll.remove(conn)
        self._server.count_closed()
        conn.close()


class UploadQueue:
    """Connections that wait until a thread may read their body, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        """Have at most `limit` bodies read at a time."""
        self._limit = limit
        self._waiting: dict[Connection, None] = {}
        self._begun: set[Connection] = set()

    def __contains__(self, conn: Connection) -> bool:
        """Return whether a thread reads this connection's body."""
        return conn in self._begun

    def add(self, conn: Connection) -> None:
        """Add a connection at the end."""
        self._waiting[conn] = None

    def remove(self, conn: Connection) -> None:
        """Remove a connection, if it waits."""
        self._waiting.pop(conn, None)

    def begin(self) -> Iterator[Connection]:
        """Yield the connections whose bodies may be read from now on."""
        while self._waiting and len(self._begun) < self._limit:
            conn = next(iter(self._waiting))
            self.remove(conn)
            self._begun.add(conn)
            yield conn

    def end(self, conn: Connection) -> None:
        """Count the body of a connection as read; also if it never will be."""
        self._begun.discard(conn)
