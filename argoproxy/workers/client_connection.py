"""Clients' connections in a worker that polls them, each with the request that is being collected."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from argoproxy.errors import ClientTooSlow
from argoproxy.workers.client_socket import TimedSocket, replace_socket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.plain_request import PIECE, EnvironMaker, PlainHead, PlainParser, read_plain
from argoproxy.workers.request_scanner import RequestScanner, RequestState, find_probe

#: Clients that are served before a new one is accepted: 64 KiB of tiny chunks from each take some 8 ms to scan.
EVENTS = 32
#: One-shot, because a thread serves the connection after an event: a level-triggered registration would wake the main
#: thread again and again while it does (epoll(7), EPOLLONESHOT).
READABLE_ONCE = select.EPOLLIN | select.EPOLLONESHOT
WRITABLE_ONCE = select.EPOLLOUT | select.EPOLLONESHOT

#: How long a thread waits for the next request of a client that is quick. Otherwise the main thread waits, which costs
#: three switches between threads and some 40 us for each request. Longer than programs take that ask again at once;
#: short for a connection that meanwhile needs a thread.
STAY_S = 0.02
_STAY = struct.pack("ll", 0, round(STAY_S * 1_000_000))


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

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 socket's signature
        """Set whether calls wait, if they don't yet: a system call, which Gunicorn makes before each request."""
        if not (flag and self.gettimeout() is None):
            super().setblocking(flag)

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

    parser: Any

    def __init__(self, cfg: Any, client: socket.socket, address: Any, server: Any, timeouts: ClientTimeouts) -> None:
        sock = replace_socket(client, CollectedSocket, timeouts)
        sock.expect_body()
        super().__init__(cfg, sock, address, server)
        self.descriptor = sock.fileno()
        #: Gunicorn's own: its threads need not wait for data.
        self.data_ready = True
        self.request = RequestScanner()
        self.environs = EnvironMaker(cfg, sock, address, server)
        self.wait = Wait.REQUEST
        self.deadline = time.monotonic() + timeouts.head_s
        #: Bytes of the request, as far as they count for the limit of all connections of the worker.
        self.collected = 0
        #: Whether the client sent its last request within STAY_S after the answer to the one before.
        self.is_quick = False
        self._begun = 0.0
        self._answered = self._waited_s = 0.0
        self._is_timed = False
        self._plain: PlainHead | None = None
        self._poll: select.poll | None = None

    def init(self) -> None:
        """Prepare to parse; in a thread."""
        super().init()
        if type(self.parser) is RequestParser:
            self.parser = PlainParser(self.cfg, self.sock, self.client)

    def hand_to_parser(self) -> None:
        """Give the request that was collected to the parser."""
        plain = self._plain or read_plain(data := self.request.take())
        if plain is None:
            self.parser.unreader.unread(data)
        else:
            self.parser.expect(plain)
            self._plain = None

    def receive_soon(self) -> bool:
        """Wait for STAY_S for the next request, in a thread; return whether it can be served at once. Raises OSError.

        It can if it is plain, and no probe. What came of any other is left in the parser's buffer.
        """
        if not self._is_timed:
            # An option of the socket, not its `settimeout`, with which each `recv` would be two system calls.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STAY)
            self._is_timed = True
        try:
            piece = self.sock.recv_now(PIECE)
        except BlockingIOError:
            self._waited_s = STAY_S
            return False
        plain = _read_common(piece)
        if plain and self.is_writable():
            self._plain = plain
            return True
        self.parser.unreader.unread(piece)
        return False

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
        now = time.monotonic()
        self._answered, self._waited_s = now - self._waited_s, 0.0
        self.deadline = now + keepalive_s

    def feed(self, piece: bytes) -> RequestState:
        """Add bytes to the request and move its deadline."""
        before = self.request.progress
        if before is RequestState.NOTHING:
            self.is_quick = time.monotonic() - self._answered < STAY_S
            self._plain = _read_common(piece)
            if self._plain:
                return self.request.skip(piece)
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


def _read_common(piece: bytes) -> PlainHead | None:
    """Return the plain request that `piece` is, unless it is a probe."""
    return None if find_probe(piece) else read_plain(piece)


class ClientPoll:
    """Reports an event of a client once, until it is asked for again. A descriptor stays registered while a thread
    serves its connection: to modify a registration is cheaper than to remove and add it for each request."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when `ready` has something to return."""
        return self._epoll.fileno()

    def expect_readable(self, conn: Connection) -> None:
        """Report when the client has sent something, or closed."""
        self._watch(conn, READABLE_ONCE)

    def expect_writable(self, conn: Connection) -> None:
        """Report when the client has read enough for the next answer to be written."""
        self._watch(conn, WRITABLE_ONCE)

    def ready(self) -> Iterator[Connection]:
        """Yield the connections with the event that was waited for."""
        for descriptor, _ in self._epoll.poll(0, EVENTS):
            conn = self._by_descriptor.get(descriptor)
            if conn is not None:  # not closed while an earlier one of these was handled
                yield conn

    def remove(self, conn: Connection) -> None:
        """Forget a connection that is about to be closed."""
        if self._by_descriptor.get(conn.descriptor) is conn:  # else the number was already given to another connection
            del self._by_descriptor[conn.descriptor]

    def _watch(self, conn: Connection, events: int) -> None:
        descriptor = conn.sock.fileno()
        if self._by_descriptor.get(descriptor) is conn:
            self._epoll.modify(descriptor, events)
        else:
            self._by_descriptor[descriptor] = conn
            self._epoll.register(descriptor, events)
