"""The adapter of requests over connections whose waits watch the client: where urllib3 and http.client are hooked into.

The private names that this relies on are listed in the package's docstring.
"""

from __future__ import annotations

import functools
import http.client
import os
import socket
import ssl
import struct
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from argoproxy.transport.connect import WatchedTlsSocket, open_connection
from argoproxy.transport.exchange import Exchange, current_exchange
from argoproxy.transport.receive import HttpHead, TunnelHead, receive_now
from argoproxy.transport.watch import READABLE, WRITABLE

SENT_AT_ONCE = 256 * 1024
#: From the next piece on, each send checks whether the upstream replies before it has the whole body.
HEAD_AND_FIRST_PIECE = 2
#: Origins whose pool is remembered; an upstream has one, those of plug-ins may have more.
MOST_POOLS = 16
#: In place of a bundle: certificates are not verified.
NOT_VERIFIED = ""
#: SO_LINGER with a time of 0 (socket(7)): closing resets the connection. An upstream must not take the part of a
#: request that it got for a whole one: without a length, or with chunks, it can't tell a regular end from a broken one.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class WatchedAdapter(HTTPAdapter):
    """The adapter of requests; certificates are verified by one bundle, which is read once."""

    def __init__(self, connections: int, ca_bundle: str | None) -> None:
        self._ca_bundle = ca_bundle
        self._pools: dict[str, HTTPConnectionPool] = {}
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
        """Return the pool of a request's origin.

        Pools of direct connections are remembered: requests and urllib3 would parse the URL and make a key of 30 fields
        for each request.
        """
        url = request.url or ""
        origin = "" if options.get("proxies") else "/".join(url.split("/", 3)[:3])
        pool = self._pools.get(origin)
        if pool is not None:
            return pool
        if url.startswith("https:"):
            self.poolmanager.connection_pool_kw["ssl_context"] = self._tls
        pool = cast(HTTPConnectionPool, super().get_connection_with_tls_context(request, *args, **options))
        if origin:
            kept = self._pools if len(self._pools) < MOST_POOLS else {}
            self._pools = {**kept, origin: pool}
        return pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return the URL for urllib3: without a proxy anything that it can parse, because `putrequest` has the
        target."""
        return super().request_url(request, proxies) if proxies or current_exchange.get() is None else "/"

    def close(self) -> None:
        """Close idle connections: urllib3 closes those of a pool when nothing refers to it any more."""
        self._pools = {}
        super().close()

    def cert_verify(self, *args: Any, **options: Any) -> None:
        """Do nothing: requests would have each new connection read the bundle again."""

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Leave the reply's body to the exchange; skip cookies and redirects."""
        exchange = current_exchange.get()
        if exchange is None or exchange.body_of is None:
            return super().build_response(req, resp)
        exchange.source, exchange.body_of = exchange.body_of(resp), None
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = create_urllib3_context()
        context.sslsocket_class = WatchedTlsSocket
        if self._ca_bundle == NOT_VERIFIED:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        bundle = self._ca_bundle or DEFAULT_CA_BUNDLE_PATH
        is_folder = os.path.isdir(bundle)
        context.load_verify_locations(capath=bundle if is_folder else None, cafile=None if is_folder else bundle)
        return context


class _WatchedConnection(HTTPConnection):
    """A connection that waits by the current exchange while it connects, sends and receives."""

    _is_connecting = False

    @property
    def response_class(self) -> Any:  # type: ignore[override]
        exchange = current_exchange.get()
        if exchange is None:
            return http.client.HTTPResponse
        return functools.partial(TunnelHead if self._is_connecting else HttpHead, exchange)

    def connect(self) -> None:
        """Connect, also through a proxy's tunnel. Raises HTTPError, OSError, UpstreamTimeout, ClientGone."""
        exchange = current_exchange.get()
        if exchange is None:
            super().connect()
            return
        exchange.expect_connection()
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False
            exchange.sends = 0
        exchange.expect_progress()

    def close(self) -> None:
        """Close the connection. It is unregistered first: its descriptor's number may belong to another one
        afterwards."""
        exchange = current_exchange.get()
        if exchange is not None:
            exchange.unregister()
        super().close()

    @property
    def is_connected(self) -> bool:
        """Whether a kept connection can be used: it did not end meanwhile, nothing arrived on it, and the request is
        not a retry."""
        exchange = current_exchange.get()
        return not (exchange is not None and exchange.must_be_fresh) and super().is_connected

    def _new_conn(self) -> socket.socket:
        exchange = current_exchange.get()
        if exchange is None:
            return super()._new_conn()
        try:
            sock = open_connection(self._dns_host, self.port, self.socket_options or (), exchange)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, "Failed to establish a new connection") from error
        sock.settimeout(self.timeout)
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        # SocketReader has set it to 0; the TLS handshake that follows needs a blocking socket to wrap.
        self.sock.settimeout(self.timeout)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        """Begin a request with the target as the client sent it: urllib3 would normalize its escapes."""
        exchange = current_exchange.get()
        if exchange is not None:
            url = exchange.url if self.proxy_is_forwarding else exchange.target
        super().putrequest(method, url, *args, **options)

    def send(self, data: Any) -> None:
        """Send bytes; notice a reply that comes before all is sent, and a client that leaves."""
        exchange = current_exchange.get()
        if exchange is None:
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        sock, view = self.sock, memoryview(data)
        sock.settimeout(0)
        exchange.sends += 1
        try:
            if exchange.sends > HEAD_AND_FIRST_PIECE and exchange.poll_now(sock) & READABLE:
                _stop_if_replied(sock, exchange)
            while view:
                view = view[_send_some(sock, view, exchange) :]
        except Exception:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            raise


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


def _send_some(sock: socket.socket, view: memoryview, exchange: Exchange) -> int:
    """Wait until some bytes can be sent; return their number."""
    while True:
        try:
            if sent := sock.send(view[:SENT_AT_ONCE]):
                exchange.record_progress()
                return sent
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if exchange.wait(sock, READABLE | WRITABLE) & READABLE:
            _stop_if_replied(sock, exchange)


def _stop_if_replied(sock: socket.socket, exchange: Exchange) -> None:
    """Keep an early reply and stop sending. Under TLS, what is readable may be only a session ticket.

    Raises BrokenPipeError: at EPIPE urllib3 goes on to read the reply (HTTPConnectionPool._make_request), because a
    server that refuses a body often replies and closes before it has read it.
    """
    arrived = receive_now(sock)
    if arrived is not None:
        exchange.early += arrived
        exchange.is_cut = True
        raise BrokenPipeError
