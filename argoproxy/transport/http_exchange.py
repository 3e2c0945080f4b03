"""Send a request on a connection and receive its reply; every wait is done by the exchange.

Reading is tried first, and waited for only if nothing is there: bytes that TLS holds in a buffer don't make the socket
readable, so a wait that came first would take them for silence.
"""

from __future__ import annotations

import math
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import Any

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers
from argoproxy.transport.connection_errors import disconnected_error
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.framing import BodyReader
from argoproxy.transport.http_head import HeadReader, ReplyHead
from argoproxy.transport.pool import Lease
from argoproxy.transport.watch import READABLE, WRITABLE

PIECE = 64 * 1024
SENT_AT_ONCE = 256 * 1024
#: A body of at most this length is sent together with the head: copying it costs less than another system call.
SENT_WITH_HEAD = 64 * 1024
SWITCHING_PROTOCOLS = 101
#: SO_LINGER with a time of 0 (socket(7)): closing resets the connection. An upstream must not take the part of a
#: request that it got for a whole one: without a length, or with chunks, it can't tell a regular end from a broken one.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

RequestBody = bytes | Iterable[bytes] | None


class _RepliedEarly(Exception):
    """The upstream replies before it has the whole request."""


def send_request(sock: Any, head: bytes, body: RequestBody, exchange: Exchange) -> None:
    """Send a request, the body as it is; stop where the reply comes earlier: it can be read even if the upstream has
    reset the connection since. Raises ProxyError, ClientGone."""
    exchange.sends += 1
    try:
        if isinstance(body, bytes) and len(body) <= SENT_WITH_HEAD:
            _send_all(sock, head + body, exchange)
        else:
            _send_all(sock, head, exchange)
            _send_body(sock, body, exchange)
    except (_RepliedEarly, BrokenPipeError, ConnectionResetError):
        exchange.is_cut = True
        _reset_on_close(sock)
    except OSError:
        raise disconnected_error() from None
    except BaseException:
        _reset_on_close(sock)
        raise


def _reset_on_close(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def receive_head(reader: SocketReader, exchange: Exchange) -> ReplyHead:
    """Receive the head of a reply, skipping interim ones. Raises ProxyError, ClientGone."""
    heads = HeadReader()
    while True:
        data = reader.receive(math.inf)
        try:
            head = heads.feed(data) if data else heads.end()
        finally:
            exchange.has_received = exchange.has_received or heads.is_begun
        while head is not None:
            exchange.has_received = True
            if head.status >= 200:
                reader.push_back(heads.take_rest())
                return head
            if head.status == SWITCHING_PROTOCOLS:
                raise UpstreamProtocolError("The upstream switched protocols, which was not requested.")
            head = heads.feed(b"")


def encode_chunks(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Yield pieces of a body as chunks (RFC 9112 section 7.1)."""
    for piece in pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _send_body(sock: Any, body: RequestBody, exchange: Exchange) -> None:
    for number, piece in enumerate((body,) if isinstance(body, bytes) else body or ()):
        if number and exchange.poll_now(sock) & READABLE:
            _stop_if_replied(sock, exchange)
        _send_all(sock, piece, exchange)


def _send_all(sock: Any, data: bytes, exchange: Exchange) -> None:
    view = memoryview(data)
    while view:
        try:
            sent = sock.send(view[:SENT_AT_ONCE])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        if sent:  # gevent's SSLSocket returns 0 where another one would raise
            exchange.record_progress()
            view = view[sent:]
        elif exchange.wait(sock, READABLE | WRITABLE) & READABLE:
            _stop_if_replied(sock, exchange)


def _stop_if_replied(sock: Any, exchange: Exchange) -> None:
    """Keep an early reply and stop sending. Under TLS, what is readable may be only a session ticket."""
    arrived = receive_now(sock)
    if arrived is not None:
        exchange.early += arrived
        raise _RepliedEarly


class SocketReader:
    """The receiving side of a connection."""

    def __init__(self, sock: Any, exchange: Exchange) -> None:
        self._sock = sock
        self._exchange = exchange
        self._buffer, exchange.early = exchange.early, b""
        self._is_tls = hasattr(sock, "pending")
        self._interest = READABLE
        self._is_drained = False
        sock.settimeout(0)

    @property
    def has_buffered(self) -> bool:
        """Whether bytes behind the head were received with it."""
        return bool(self._buffer)

    def push_back(self, data: bytes) -> None:
        """Put back bytes that belong to what is read next."""
        self._buffer = data

    def receive(self, tick_s: float) -> bytes | None:
        """Return what has arrived, b"" at the end of the connection, None after tick_s of silence."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        while True:
            if not self._is_drained and (arrived := self._read_now()) is not None:
                return arrived
            if not self._exchange.wait(self._sock, self._interest, tick_s):
                return None
            self._is_drained = False

    def _read_now(self) -> bytes | None:
        data = receive_now(self._sock)
        if data is None:
            self._is_drained = True
            return None
        if self._is_tls:  # recv returns one TLS record at a time, at most 16 KiB
            while data and len(data) < PIECE and self._sock.pending():
                data += receive_now(self._sock) or b""
        # A short read has emptied the kernel's buffer, so the next step is to wait: saves a system call that would
        # block.
        self._is_drained = not self._is_tls and 0 < len(data) < PIECE
        self._exchange.record_progress()
        return data


def receive_now(sock: Any) -> bytes | None:
    """Return the bytes that are there, b"" at the end of the connection, None when there are none yet.

    Raises UpstreamProtocolError when the connection broke.
    """
    try:
        data: bytes = sock.recv(PIECE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        raise UpstreamProtocolError("The connection to the upstream was lost.", code="upstream_disconnected") from None
    return data


class HttpBody:
    """The body of a reply, as it is received; a Source."""

    def __init__(self, body: BodyReader, headers: Headers, reader: SocketReader, lease: Lease) -> None:
        self.headers = headers
        self._body = body
        self._reader = reader
        self._lease: Lease | None = lease
        if self.done:
            self.close()

    @property
    def done(self) -> bool:
        return self._body.done

    def take(self, tick_s: float) -> bytes | None:
        body, piece = self._body, b""
        while not piece and not body.done:
            arrived = self._reader.receive(tick_s)
            if arrived is None:
                return None
            if arrived:
                piece = body.feed(arrived)
            else:
                body.end()
        if body.done:
            self.close()
        return piece

    def close(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if self.done and not self._body.surplus and not self._reader.has_buffered:
            lease.keep()
        else:
            lease.drop()
