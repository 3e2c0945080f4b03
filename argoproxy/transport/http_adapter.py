"""The adapter by which the Session of requests sends: HTTP/1.1 on kept connections; every wait watches the client.

It takes the place of `requests.adapters.HTTPAdapter`. Tests that answer requests without a server (by the package
`responses`, which replaces `HTTPAdapter.send`) put the stock one in its place: `transport.mount(HTTPAdapter())`.
"""

from __future__ import annotations

import base64
import functools
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.utils import select_proxy

from argoproxy.errors import ConnectTimeout, UpstreamProtocolError
from argoproxy.transport.connect import make_context, open_connection, start_tls
from argoproxy.transport.connection_errors import connect_error, proxy_error, tls_error
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.framing import normalize_length
from argoproxy.transport.http_exchange import HttpBody, SocketReader, encode_chunks, receive_head, send_request
from argoproxy.transport.http_head import encode_request
from argoproxy.transport.pool import ConnectionPool, KeptConnection, Lease, Origin

NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
PORTS = {"http": 80, "https": 443}
#: What an adapter must return; the reply itself is in the exchange. To make one takes a lock and a jar of cookies.
IN_EXCHANGE = requests.Response()


class WatchedRequest(requests.PreparedRequest):
    """A request, and the exchange that waits for it and gets the reply."""

    exchange: Exchange


class WatchedAdapter(BaseAdapter):
    """Sends requests; certificates are verified by one bundle, which is read once."""

    def __init__(self, connections: int, ca_bundle: str | None) -> None:
        """`connections` idle ones are kept for each origin."""
        super().__init__()
        self._pool = ConnectionPool(connections)
        self._ca_bundle = ca_bundle

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request and wait for the head of its reply, whose body its exchange gets.

        Raises ProxyError, ClientGone.
        """
        assert isinstance(request, WatchedRequest)
        exchange, method = request.exchange, request.method or "GET"
        origin = _find_origin(exchange.url, options.get("proxies"))
        connection = None if exchange.must_be_fresh else self._pool.take(origin)
        connection = connection or self._connect(origin, exchange)
        try:
            _send(connection, request)
            reader = SocketReader(connection.sock, exchange)
            exchange.expect_head()
            head = receive_head(reader, exchange)
            exchange.expect_progress()
            lease = Lease(connection, exchange, self._pool if head.is_reusable(method) else None)
            exchange.source = HttpBody(head.body_reader(method), normalize_length(head.fields), reader, lease)
        except BaseException:
            exchange.unregister()
            connection.close()
            raise
        exchange.status = head.status
        return IN_EXCHANGE

    def close(self) -> None:
        """Close idle connections; those in use are closed when they are released."""
        self._pool.close()

    def _connect(self, origin: Origin, exchange: Exchange) -> KeptConnection:
        """Open a connection, also through a proxy's tunnel. Raises ProxyError, ClientGone."""
        exchange.expect_connection()
        sock: Any = _open(origin, exchange)
        try:
            if origin.proxy:
                sock = self._pass_proxy(sock, urlsplit(origin.proxy), origin, exchange)
            if origin.scheme == "https":
                sock = self._start_tls(sock, origin.host, exchange)
        except BaseException:
            exchange.unregister()
            sock.close()
            raise
        exchange.expect_progress()
        return KeptConnection(origin, sock)

    def _pass_proxy(self, sock: Any, proxy: SplitResult, origin: Origin, exchange: Exchange) -> Any:
        try:
            if proxy.scheme == "https":
                sock = start_tls(sock, self._tls, proxy.hostname or "", exchange)
            if not origin.is_forwarded:
                _open_tunnel(sock, proxy, origin, exchange)
        except ConnectTimeout:
            raise
        except (OSError, UpstreamProtocolError) as error:
            raise proxy_error(error=error) from None
        return sock

    def _start_tls(self, sock: Any, host: str, exchange: Exchange) -> Any:
        try:
            return start_tls(sock, self._tls, host, exchange)
        except (OSError, ValueError) as error:
            raise tls_error(error) from None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return make_context(self._ca_bundle)


def _find_origin(url: str, proxies: dict[str, str] | None) -> Origin:
    parts = urlsplit(url)
    proxy = (select_proxy(url, proxies) if proxies else "") or ""
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return Origin(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], proxy)


def _open(origin: Origin, exchange: Exchange) -> socket.socket:
    """Connect to the upstream, or to the proxy in front of it. Raises ProxyError, ClientGone."""
    proxy = urlsplit(origin.proxy)
    if origin.proxy and proxy.scheme not in PORTS:
        raise proxy_error("only http and https proxies are supported")
    host = proxy.hostname if origin.proxy else origin.host
    port = proxy.port or PORTS[proxy.scheme] if origin.proxy else origin.port
    try:
        return open_connection(host or "", port, (NO_DELAY,), exchange)
    except OSError as error:
        # No variable may hold the new error: its traceback holds this frame, a cycle that would keep sockets open
        # until the garbage collector runs.
        raise (proxy_error(error=error) if origin.proxy else connect_error(error)) from None


def _open_tunnel(sock: Any, proxy: SplitResult, origin: Origin, exchange: Exchange) -> None:
    """Have a proxy connect to the upstream (RFC 9110 section 9.3.6). Raises ProxyError, ClientGone."""
    authority = f"{_host_field(origin.host)}:{origin.port}"
    reader = SocketReader(sock, exchange)
    send_request(
        sock, encode_request("CONNECT", authority, [("Host", authority), *_proxy_fields(proxy)]), None, exchange
    )
    status = receive_head(reader, exchange).status
    # The request proper has not begun yet.
    exchange.sends = 0
    if status >= 300:
        raise proxy_error(f"the proxy answered {status}")


def _send(connection: KeptConnection, request: WatchedRequest) -> None:
    origin, exchange = connection.origin, request.exchange
    body: Any = request.body
    fields = [*_own_fields(request, origin), *request.headers.items()]
    if not isinstance(body, bytes | None) and "content-length" not in request.headers:
        fields.append(("Transfer-Encoding", "chunked"))
        body = encode_chunks(body)
    target = exchange.url if origin.is_forwarded else exchange.target
    send_request(connection.sock, encode_request(request.method or "GET", target, fields), body, exchange)


def _own_fields(request: WatchedRequest, origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield the fields that a request needs besides its own."""
    headers, body = request.headers, request.body
    if "host" not in headers:
        host = _host_field(origin.host)
        yield "Host", host if origin.port == PORTS[origin.scheme] else f"{host}:{origin.port}"
    if "accept-encoding" not in headers:
        yield "Accept-Encoding", "identity"
    if origin.is_forwarded:
        yield from _proxy_fields(urlsplit(origin.proxy))
    if isinstance(body, bytes) and "content-length" not in headers:
        yield "Content-Length", str(len(body))


def _proxy_fields(proxy: SplitResult) -> Iterator[tuple[str, str]]:
    if proxy.username is not None:
        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        yield "Proxy-Authorization", f"Basic {base64.b64encode(credentials).decode()}"


def _host_field(host: str) -> str:
    return f"[{host}]" if ":" in host else host
