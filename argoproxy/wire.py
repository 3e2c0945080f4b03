"""The upstream leg: the stock requests, urllib3 and http.client, with every wait done by us.

Only public hooks are used: an HTTPAdapter with pools of our own, connections with a `response_class` of ours. What
http.client reads from is not the socket but Arrivals, which tries first and waits second, so that bytes buffered
anywhere can't look like silence. The body's framing is ours (`protocol/framing.py`): http.client parses heads.

An error raised while waiting is a plain exception (ClientGone, ProxyError): urllib3 swallows some OSErrors and
wraps others, but lets these through and closes the connection.
"""

from __future__ import annotations

import functools
import http.client
import math
import os
import socket
import ssl
import struct
import time
from contextvars import ContextVar
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from argoproxy.errors import UpstreamProtocolError, UpstreamTimeout
from argoproxy.protocol.exchange import Headers
from argoproxy.protocol.framing import Chunked, Counted, Framing, UntilClose
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.watch import READABLE, WRITABLE, Watch

PIECE = 64 * 1024
SENT_AT_ONCE = 256 * 1024
#: Bytes may come so fast that we never wait; the client is looked after all the same, once in so many reads.
READS_BETWEEN_LOOKS = 16
#: What the system's clock for waiting can hold, with room to spare.
LONGEST_WAIT_S = 1_000_000.0
#: From the next piece on, an upstream is looked after for a reply that comes before it has all of the body.
HEAD_AND_FIRST_PIECE = 2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


in_hand: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Source(Protocol):
    """The body of a reply on its way."""

    headers: Headers

    @property
    def done(self) -> bool:
        """Whether all of it was taken."""

    def take(self, tick_s: float) -> bytes | None:
        """Give what has arrived, None after tick_s of silence. Raises ProxyError, ClientGone."""

    def close(self) -> None:
        """Give the connection back if it can be used again, else close it."""


class Exchange:
    """One request to an upstream and its reply: whom to watch, how long to wait, what came too early."""

    def __init__(self, watch: Watch, timeouts: Timeouts, target: str) -> None:
        self.target = target
        self.early = b""
        self.is_cut = False
        self.sends = 0
        self.source: Source | None = None
        self.response: _Response | None = None
        self._watch = watch
        self._timeouts = timeouts
        self._total_until = time.monotonic() + timeouts.total_s
        self._until = math.inf
        self._reads = 0
        self.expects_progress()
        watch.forget()

    def expects_head(self) -> None:
        """From now on the time to the first byte runs, however many bytes the head comes in."""
        self._allowed_s, self._code, self._in_head = self._timeouts.first_byte_s, "first_byte_timeout", True
        self._until = math.inf

    def expects_progress(self) -> None:
        """From now on each silence is measured for itself."""
        self._allowed_s, self._code, self._in_head = self._timeouts.idle_s, "idle_timeout", False
        self._until = math.inf

    def progressed(self) -> None:
        """Take note that bytes went or came. Raises ClientGone, now and then, if the client has left."""
        if not self._in_head:
            self._until = math.inf
        self._reads += 1
        if self._reads >= READS_BETWEEN_LOOKS:
            self._reads = 0
            self._watch.look()

    def wait(self, sock: socket.socket, interest: int = READABLE, tick_s: float = math.inf) -> int:
        """Wait for the socket: its events, 0 after tick_s. Raises ClientGone, UpstreamTimeout."""
        now = time.monotonic()
        self._until = min(self._until, now + min(self._allowed_s, LONGEST_WAIT_S))
        left_s = min(self._until, self._total_until) - now
        events = self._watch.wait(sock, max(0.0, min(left_s, tick_s)), interest) if left_s > 0 else 0
        self._reads = 0
        if not events and left_s <= tick_s:
            raise self._timed_out()
        return events

    def glance(self, sock: socket.socket) -> int:
        """Give the socket's events without waiting. Raises ClientGone."""
        return self._watch.wait(sock, 0, READABLE | WRITABLE)

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises ClientGone."""
        self._watch.wait(None, seconds)

    def ends(self) -> None:
        """Stop watching the connection."""
        self._watch.forget()

    def _timed_out(self) -> UpstreamTimeout:
        if self._total_until <= self._until:
            return UpstreamTimeout("The upstream took too long in all.", code="total_timeout")
        if self._in_head:
            return UpstreamTimeout("The upstream did not begin to answer in time.", code=self._code)
        return UpstreamTimeout("The upstream was silent for too long.", code=self._code)


class Arrivals:
    """The receiving side of a connection: bytes as they arrive, and the file http.client reads heads from."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._exchange = exchange
        self._buffer, exchange.early = exchange.early, b""
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._interest = READABLE
        self._dry = False
        if isinstance(sock, ssl.SSLSocket):
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        sock.settimeout(0)

    def makefile(self, mode: str) -> Arrivals:
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
            more = self.receive(math.inf)
            if not more:
                return line
            line += more
        end = min(end or limit, limit)
        line, self._buffer = line[:end], line[end:]
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
        self._exchange.progressed()
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


class _Response(http.client.HTTPResponse):
    """A reply whose head http.client parses and whose body we take from the connection ourselves."""

    def __init__(self, exchange: Exchange, sock: socket.socket, *args: Any, **options: Any) -> None:
        self.exchange = exchange
        self.arrivals = Arrivals(sock, exchange)
        super().__init__(self.arrivals, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head, passing over interim ones (http.client itself passes over 100 only)."""
        self.exchange.expects_head()
        super().begin()
        while 100 < self.status < 200:
            if self.status == 101:
                raise UpstreamProtocolError("The upstream switched protocols without being asked to.")
            self.headers = None  # type: ignore[assignment]
            super().begin()
        self.framing = self._framing()
        self.leaves_open = not self.will_close and not self.exchange.is_cut
        self.will_close = False
        self.exchange.response = self
        self.exchange.expects_progress()

    def _framing(self) -> Framing:
        if self.chunked:
            return Chunked()
        return UntilClose() if self.length is None else Counted(self.length)


class HttpBody:
    """The body of a reply over HTTP; a Source."""

    def __init__(self, response: _Response, raw: BaseHTTPResponse) -> None:
        headers = tuple(raw.headers.items())
        self.headers: Headers = headers
        if response.chunked:
            self.headers = tuple((name, value) for name, value in headers if name.lower() != "content-length")
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
            arrived = self._response.arrivals.receive(tick_s)
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
        self._response.exchange.ends()
        if self.done and self._response.leaves_open and not self._response.framing.surplus:
            self._response.close()
        else:
            raw.close()
        raw.release_conn()


class WatchedAdapter(HTTPAdapter):
    """The adapter of requests, over connections that watch the client; TLS trusts one bundle, read once."""

    def __init__(self, connections: int, ca_bundle: str | None) -> None:
        self._ca_bundle = ca_bundle
        super().__init__(pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        manager.connection_pool_kw["ssl_context"] = self._tls
        return manager

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        """Give the pool of a request's origin."""
        if request.url and request.url.startswith("https:"):
            self.poolmanager.connection_pool_kw["ssl_context"] = self._tls
        return super().get_connection_with_tls_context(request, *args, **options)

    def cert_verify(self, *args: Any, **options: Any) -> None:
        """Leave the pool alone: requests would have every connection read the bundle again."""

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Hand the reply's body to the exchange; no cookies are kept, redirects are not looked for."""
        exchange = in_hand.get()
        if exchange is None or exchange.response is None:
            return super().build_response(req, resp)
        exchange.source = HttpBody(exchange.response, resp)
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = create_urllib3_context()
        bundle = self._ca_bundle or DEFAULT_CA_BUNDLE_PATH
        is_folder = os.path.isdir(bundle)
        context.load_verify_locations(capath=bundle if is_folder else None, cafile=None if is_folder else bundle)
        return context


class _Watched(HTTPConnection):
    """A connection whose sending and receiving wait by the exchange in hand."""

    _is_connecting = False

    @property
    def response_class(self) -> Any:  # type: ignore[override]
        exchange = in_hand.get()
        if exchange is None or self._is_connecting:
            return http.client.HTTPResponse
        return functools.partial(_Response, exchange)

    def connect(self) -> None:
        """Connect, through a proxy's tunnel too, bounded by the connect time-out alone."""
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        """Begin a request with the target as it came: urllib3 would spell its escapes anew."""
        exchange = in_hand.get()
        exact = url if exchange is None or self.proxy_is_forwarding else exchange.target
        super().putrequest(method, exact, *args, **options)

    def send(self, data: Any) -> None:
        """Send bytes; a reply that comes before all is sent, or a client that leaves, is seen."""
        exchange = in_hand.get()
        if exchange is None or self._is_connecting:
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        sock, view = self.sock, memoryview(data)
        sock.settimeout(0)
        exchange.sends += 1
        try:
            if exchange.sends > HEAD_AND_FIRST_PIECE and exchange.glance(sock) & READABLE:
                _stop_if_answered(sock, exchange)
            while view:
                view = view[_sent(sock, view, exchange) :]
        except Exception:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            raise


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def _sent(sock: socket.socket, view: memoryview, exchange: Exchange) -> int:
    """Send what goes, waiting until something does: the number of bytes."""
    while True:
        try:
            if sent := sock.send(view[:SENT_AT_ONCE]):
                exchange.progressed()
                return sent
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if exchange.wait(sock, READABLE | WRITABLE) & READABLE:
            _stop_if_answered(sock, exchange)


def _stop_if_answered(sock: socket.socket, exchange: Exchange) -> None:
    """Keep the early reply and stop sending; under TLS what is readable may be no more than a session ticket.

    Raises BrokenPipeError, on which urllib3 goes on to read the reply.
    """
    arrived = receive_now(sock)
    if arrived is not None:
        exchange.early += arrived
        exchange.is_cut = True
        raise BrokenPipeError
