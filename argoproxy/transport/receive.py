"""What comes from an upstream: bytes as they arrive, a head that http.client parses, a body that we take ourselves.

What http.client reads from is not the socket but SocketReader, which tries first and waits second, so that bytes
buffered anywhere can't look like silence. The body's framing is ours (`protocol/framing.py`).
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
#: How the parser of http.client tells of a line that is no header field.
NO_FIELD = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect, InvalidHeaderDefect)


class SocketReader:
    """The receiving side of a connection: bytes as they arrive, and the file http.client reads heads from."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._exchange = exchange
        self._buffer, exchange.early = exchange.early, b""
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._interest = READABLE
        self._dry = False
        self.has_ended = False
        if isinstance(sock, ssl.SSLSocket):
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        sock.settimeout(0)

    @property
    def has_buffered(self) -> bool:
        """Whether bytes behind the head were received with it."""
        return bool(self._buffer)

    def makefile(self, mode: str) -> SocketReader:
        """Give the file http.client asks its socket for: the same thing."""
        return self

    def flush(self) -> None:
        """Nothing is written here; http.client flushes what it closes."""

    def close(self) -> None:
        """Leave the connection as it is: http.client closes the file after each reply."""

    def readline(self, limit: int) -> bytes:
        """Take a line of a head, waiting for its end; a longer one is cut at limit, a last one at its end."""
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
        if line.find(b"\r", 0, -2) >= 0:
            raise UpstreamProtocolError("The upstream sent a carriage return within a header.")
        return line

    def receive(self, tick_s: float) -> bytes | None:
        """Take what has arrived: b"" at the end of the connection, None after tick_s of silence."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        while True:
            if not self._dry and (arrived := self._try()) is not None:
                return arrived
            if not self._exchange.wait(self._sock, self._interest, tick_s):
                return None
            self._dry = False

    def _try(self) -> bytes | None:
        data = receive_now(self._sock)
        if data is None:
            self._dry = True
            return None
        if self._is_tls:
            while data and len(data) < PIECE and self._sock.pending():  # type: ignore[attr-defined]
                data += receive_now(self._sock) or b""
        self._dry = not self._is_tls and 0 < len(data) < PIECE
        self._exchange.record_progress()
        return data


def receive_now(sock: socket.socket) -> bytes | None:
    """Give the bytes that are there, b"" at the end of the connection, None when there are none yet.

    Raises UpstreamProtocolError when the connection broke.
    """
    try:
        return sock.recv(PIECE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        raise UpstreamProtocolError("The connection to the upstream broke.", code="upstream_disconnected") from None


class HttpHead(http.client.HTTPResponse):
    """A reply whose head http.client parses and whose body we take from the connection ourselves."""

    def __init__(self, exchange: Exchange, sock: socket.socket, *args: Any, **options: Any) -> None:
        self.exchange = exchange
        self.reader = SocketReader(sock, exchange)
        super().__init__(self.reader, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head, passing over interim ones (http.client itself passes over 100 only)."""
        self.exchange.expect_head()
        super().begin()
        while 100 < self.status < 200:
            if self.status == 101:
                raise UpstreamProtocolError("The upstream switched protocols without being asked to.")
            self.headers = None  # type: ignore[assignment]
            super().begin()
        if self.status > LAST_STATUS:
            raise UpstreamProtocolError("The upstream sent a status that HTTP does not have.")
        _check(self.headers, self.reader)
        self.told = normalize_length(tuple(self.headers.items()))
        self.framing = self._framing()
        self.leaves_open = not (self.will_close or self.exchange.is_cut or self._may_be_followed_by_a_body())
        self.will_close = False
        self.exchange.body_of = functools.partial(HttpBody, self)
        self.exchange.expect_progress()

    def _framing(self) -> BodyReader:
        if self.length == 0:
            return ContentLengthReader(0)
        if is_chunked(self.told):
            return ChunkedReader()
        length = content_length(self.told)
        return UntilCloseReader() if length is None else ContentLengthReader(length)

    def _may_be_followed_by_a_body(self) -> bool:
        """Return whether bytes may follow a reply that has no body by its status (204, 304) or its method (HEAD).

        A sloppy upstream sends the body that such a head announces, later than the connection is used again: it would
        be read as the reply to the next request.
        """
        if self.length != 0:
            return False
        length = content_length(self.told)
        is_announced = bool(length) if length is not None else is_chunked(self.told) or "content-type" in self.headers
        return is_announced or self.reader.has_buffered


class TunnelHead(http.client.HTTPResponse):
    """What a proxy answers when it is asked for a tunnel."""

    def __init__(self, exchange: Exchange, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(SocketReader(sock, exchange), *args, **options)  # type: ignore[arg-type]


def _check(headers: Message, reader: SocketReader) -> None:
    """See that a head is whole: http.client takes the end of the connection for its end, and drops what stands
    behind a line that is no field. Raises UpstreamProtocolError."""
    if reader.has_ended:
        raise cut_short_error()
    if any(isinstance(defect, NO_FIELD) for defect in headers.defects):
        raise UpstreamProtocolError("The upstream sent a header that is none.")


class HttpBody:
    """The body of a reply over HTTP; a Source."""

    def __init__(self, response: HttpHead, raw: BaseHTTPResponse) -> None:
        self.headers = response.told
        self._response = response
        self._raw: BaseHTTPResponse | None = raw
        if self.done:
            self.close()

    @property
    def done(self) -> bool:
        return self._response.framing.done

    def take(self, tick_s: float) -> bytes | None:
        framing, piece = self._response.framing, b""
        while not piece and not framing.done:
            arrived = self._response.reader.receive(tick_s)
            if arrived is None:
                return None
            if arrived:
                piece = framing.feed(arrived)
            else:
                framing.end()
        if framing.done:
            self.close()
        return piece

    def close(self) -> None:
        if self._raw is None:
            return
        raw, self._raw = self._raw, None
        self._response.exchange.unregister()
        if self.done and self._response.leaves_open and not self._response.framing.surplus:
            self._response.close()
        else:
            raw.close()
        raw.release_conn()
