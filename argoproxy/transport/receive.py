"""Receive a reply: a head that http.client parses, and a body that is read here (`framing.py`).

http.client reads from a SocketReader in place of the socket's own buffered file. That reads first and waits only if
nothing is there: bytes that http.client or TLS hold in a buffer don't make the socket readable, so a wait that came
first would take them for silence.
"""

from __future__ import annotations

import functools
import http.client
import math
import socket
import ssl
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from email.message import Message
from typing import Any

from urllib3 import BaseHTTPResponse

from argoproxy.errors import UpstreamProtocolError
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.framing import (
    BodyReader,
    ChunkedReader,
    ContentLengthReader,
    UntilCloseReader,
    content_length,
    cut_short_error,
    is_chunked,
    normalize_length,
)
from argoproxy.transport.watch import READABLE

PIECE = 64 * 1024
STATUS_LINE = b"HTTP/"
#: RFC 9110 section 15: what is outside of 100 to 599 is invalid.
LAST_STATUS = 599
#: Defects that the parser of http.client (email.parser) reports for a line that is not a header field.
BAD_LINES = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect, InvalidHeaderDefect)


class SocketReader:
    """The receiving side of a connection; also the file that http.client reads heads from."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._exchange = exchange
        self._buffer, exchange.early = exchange.early, b""
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._interest = READABLE
        self._is_drained = False
        self.has_ended = False
        if isinstance(sock, ssl.SSLSocket):
            # Else a connection that is cut without TLS's close_notify looks like the regular end of a body.
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        sock.settimeout(0)

    @property
    def has_buffered(self) -> bool:
        """Whether bytes behind the head were received with it."""
        return bool(self._buffer)

    def makefile(self, mode: str) -> SocketReader:
        """Return the file that http.client asks its socket for: this object."""
        return self

    def flush(self) -> None:
        """Do nothing; http.client flushes a file that it closes."""

    def close(self) -> None:
        """Do nothing: http.client closes the file after each reply, and the connection may be used again."""

    def readline(self, limit: int) -> bytes:
        """Return a line of a head with its end, at most `limit` bytes; a part of a line at the end of the
        connection."""
        line, self._buffer = self._buffer, b""
        while (end := line.find(b"\n") + 1) == 0 and len(line) < limit:
            if line and line.startswith(STATUS_LINE[: len(line)]):
                self._exchange.has_received = True
            more = self.receive(math.inf)
            if not more:
                self.has_ended = True
                return line
            line += more
        self._exchange.has_received = True
        end = min(end or limit, limit)
        line, self._buffer = line[:end], line[end:]
        # Python's email parser ends a line there, another server may not: two readings of one head (RFC 9112 section
        # 2.2).
        if line.find(b"\r", 0, -2) >= 0:
            raise UpstreamProtocolError("The upstream sent a carriage return within a header line.")
        return line

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
            while data and len(data) < PIECE and self._sock.pending():  # type: ignore[attr-defined]
                data += receive_now(self._sock) or b""
        # A short read has emptied the kernel's buffer, so the next step is to wait: saves a system call that would
        # block.
        self._is_drained = not self._is_tls and 0 < len(data) < PIECE
        self._exchange.record_progress()
        return data


def receive_now(sock: socket.socket) -> bytes | None:
    """Return the bytes that are there, b"" at the end of the connection, None when there are none yet.

    Raises UpstreamProtocolError when the connection broke.
    """
    try:
        return sock.recv(PIECE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        # urllib3 would wrap an OSError in its own errors, or swallow it while a request is sent; ours passes through
        # it.
        raise UpstreamProtocolError("The connection to the upstream was lost.", code="upstream_disconnected") from None


class HttpHead(http.client.HTTPResponse):
    """A reply whose head http.client parses; its body is read by HttpBody."""

    def __init__(self, exchange: Exchange, sock: socket.socket, *args: Any, **options: Any) -> None:
        self.exchange = exchange
        self.reader = SocketReader(sock, exchange)
        super().__init__(self.reader, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head. Skips interim ones, of which http.client itself skips only 100."""
        self.exchange.expect_head()
        super().begin()
        while 100 < self.status < 200:
            if self.status == 101:
                raise UpstreamProtocolError("The upstream switched protocols, which was not requested.")
            self.headers = None  # type: ignore[assignment]
            super().begin()
        if self.status > LAST_STATUS:
            raise UpstreamProtocolError("The upstream sent a status over 599.")
        _check_head(self.headers, self.reader)
        # `items` would check each value for bytes that can't be decoded; http.client decodes all as ISO 8859-1.
        self.fields = normalize_length(tuple(self.headers.raw_items()))
        self.body_reader = self._body_reader()
        self.leaves_open = not (self.will_close or self.exchange.is_cut or self._may_be_followed_by_a_body())
        # Else http.client closes the connection as soon as the head is read (HTTPConnection.getresponse).
        self.will_close = False
        self.exchange.body_of = functools.partial(HttpBody, self)
        self.exchange.expect_progress()

    def _body_reader(self) -> BodyReader:
        if self.length == 0:
            return ContentLengthReader(0)
        if is_chunked(self.fields):
            return ChunkedReader()
        length = content_length(self.fields)
        return UntilCloseReader() if length is None else ContentLengthReader(length)

    def _may_be_followed_by_a_body(self) -> bool:
        """Return whether bytes may follow a reply that has no body by its status (204, 304) or its method (HEAD).

        A sloppy upstream sends the body that such a head announces, later than the connection is used again: it would
        be read as the reply to the next request.
        """
        if self.length != 0:
            return False
        length = content_length(self.fields)
        is_announced = bool(length) if length is not None else is_chunked(self.fields) or "content-type" in self.headers
        return is_announced or self.reader.has_buffered


class TunnelHead(http.client.HTTPResponse):
    """The reply of an HTTP proxy to CONNECT."""

    def __init__(self, exchange: Exchange, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(SocketReader(sock, exchange), *args, **options)  # type: ignore[arg-type]


def _check_head(headers: Message, reader: SocketReader) -> None:
    """Raise UpstreamProtocolError for a head that is not whole: http.client takes the end of the connection for its
    end, and drops all that follows a line that is not a field."""
    if reader.has_ended:
        raise cut_short_error()
    if any(isinstance(defect, BAD_LINES) for defect in headers.defects):
        raise UpstreamProtocolError("The upstream sent a malformed header.")


class HttpBody:
    """The Source of a reply over HTTP."""

    def __init__(self, response: HttpHead, raw: BaseHTTPResponse) -> None:
        self.headers = response.fields
        self._response = response
        self._raw: BaseHTTPResponse | None = raw
        if self.done:
            self.close()

    @property
    def done(self) -> bool:
        return self._response.body_reader.done

    def take(self, tick_s: float) -> bytes | None:
        reader, piece = self._response.body_reader, b""
        while not piece and not reader.done:
            arrived = self._response.reader.receive(tick_s)
            if arrived is None:
                return None
            if arrived:
                piece = reader.feed(arrived)
            else:
                reader.end()
        if reader.done:
            self.close()
        return piece

    def close(self) -> None:
        if self._raw is None:
            return
        raw, self._raw = self._raw, None
        self._response.exchange.unregister()
        if self.done and self._response.leaves_open and not self._response.body_reader.surplus:
            self._response.close()
        else:
            raw.close()
        raw.release_conn()
