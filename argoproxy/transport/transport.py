"""Send a request to an upstream and return its reply; every wait watches the client too.

Callers see ProxyError and ClientGone only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.access.masking import encode_secret, redactor_for
from argoproxy.protocol.http_messages import Headers, without
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.connect import Resolver
from argoproxy.transport.connection_errors import PROXY_ERROR, address_of, connect_error
from argoproxy.transport.exchange import Exchange, Source
from argoproxy.transport.http_adapter import WatchedAdapter, WatchedRequest
from argoproxy.transport.reply import HttpReply
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.demo import SCHEME, Script, make_script

PLAIN_ACCESS = Access()
STOCK_PIECE = 64 * 1024

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Transport:
    """Sends requests to one upstream, over one requests.Session. Proxy variables, .netrc and cookies are ignored."""

    def __init__(
        self,
        connections: int,
        tick_s: float,
        access: Access = PLAIN_ACCESS,
        auth: Auth | None = None,
        not_passed: frozenset[str] = frozenset(),
    ) -> None:
        """`connections` is the number of idle connections kept for each host; `tick_s` the silence after which a reply
        yields an empty piece. The `proxies` of `access` map a scheme to its proxy's URL, `all` to that of both, `no` to
        a list of hosts without one. `auth` signs requests, `not_passed` names headers of replies to be removed, in
        lower case."""
        self._tick_s = tick_s
        self._access = access
        self._auth = auth
        self._not_passed = not_passed
        self._proxies = dict(access.proxies)
        self._secrets = tuple(data for secret in access.secrets for data in encode_secret(secret.text))
        self._resolver = Resolver()
        self._session = requests.Session()
        self._session.trust_env = False
        self.mount(WatchedAdapter(connections, access.ca_bundle))
        self._session.mount(SCHEME, _DemoAdapter())

    def open(self, request: UpstreamRequest, timeouts: Timeouts, watch: Watch, own: Headers = ()) -> HttpReply:
        """Send a request and wait for the head of its reply. Raises ProxyError, ClientGone.

        `own` are headers of the proxy's, which replace those of the same names.

        If its connection was kept from an earlier request and ends before a reply, the request is sent once more on a
        new one, unless its body can't be sent twice: a server that closes an idle connection has not read what was
        sent at that moment (RFC 9112 section 9.3.1).
        """
        try:
            return self._send_or_retry(request, self._prepare(request, own), timeouts, watch)
        except ProxyError as error:
            if not error.reached:
                error.address = address_of(self._next_hop(request.url, error))
            raise

    def mount(self, adapter: BaseAdapter) -> None:
        """Send by another adapter, which watches no client: for tests without a server."""
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def next_hop(self, url: str) -> str:
        """Return the URL of the proxy that a request for a URL goes to first; the URL itself where there is none."""
        return select_proxy(url, self._proxies_for(url)) or url

    def _next_hop(self, url: str, error: ProxyError) -> str:
        return self.next_hop(url) if error.code == PROXY_ERROR else url

    def _send_or_retry(
        self, request: UpstreamRequest, prepared: WatchedRequest, timeouts: Timeouts, watch: Watch
    ) -> HttpReply:
        exchange = Exchange(watch, timeouts, prepared.url or request.url, self._resolver.lookup)
        try:
            self._send(prepared, exchange)
        except UpstreamProtocolError:
            if not exchange.is_stale or not isinstance(request.body, bytes | None):
                raise
            exchange = exchange.copy_for_retry()
            self._send(prepared, exchange)
        redactor = redactor_for((request.secret, *self._secrets))
        reply = HttpReply(exchange.status, _take_source(exchange), self._tick_s, redactor)
        reply.headers = without(reply.headers, self._not_passed) if self._not_passed else reply.headers
        return reply

    def _send(self, request: WatchedRequest, exchange: Exchange) -> None:
        request.exchange = exchange
        adapter = self._session.get_adapter(exchange.url)
        try:
            response = adapter.send(request, stream=True, proxies=self._proxies_for(exchange.url))
        except requests.RequestException as error:
            raise connect_error(OSError(str(error))) from None
        if exchange.source is None:
            exchange.status, exchange.source = response.status_code, StockBody(response)

    def close(self) -> None:
        """Close idle connections; those in use are closed when they are released."""
        self._session.close()

    def _prepare(self, request: UpstreamRequest, own: Headers) -> WatchedRequest:
        prepared = WatchedRequest()
        prepared.method, prepared.url, prepared.body = request.method, request.url, request.body  # type: ignore[assignment]
        prepared.headers = CaseInsensitiveDict(request.headers)
        for name, value in (*own, *self._access.headers):
            prepared.headers[name] = value
        if request.length is not None and request.body is not None:
            prepared.headers["Content-Length"] = str(request.length)
        if self._auth:
            self._auth(prepared)
        return prepared

    def _proxies_for(self, url: str) -> dict[str, str]:
        if not self._proxies or _goes_direct(urlsplit(url).hostname or "", self._proxies.get("no", "")):
            return {}
        return self._proxies


class StockBody:
    """The body of a reply that another adapter received: nothing is watched while it is read; a Source."""

    def __init__(self, response: requests.Response) -> None:
        self.headers = tuple(response.headers.items())
        self.done = False
        self._raw = response.raw

    def take(self, tick_s: float) -> bytes | None:
        """Return the next piece."""
        data: bytes = self._raw.read(STOCK_PIECE, decode_content=False)
        self.done = not data
        return data

    def close(self) -> None:
        """Close the reply."""
        self._raw.close()


class _DemoAdapter(BaseAdapter):
    """Plays the scripts of the embedded demo; for its own URL scheme."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        body = request.body if isinstance(request.body, bytes) else b""
        script = make_script(urlsplit(request.url or "").path, body)
        assert isinstance(request, WatchedRequest)
        request.exchange.status, request.exchange.source = script.status, _ScriptSource(script, request.exchange)
        response = requests.Response()
        response.status_code = script.status
        return response

    def close(self) -> None:
        """Do nothing: the demo has no connections."""


class _ScriptSource:
    """The Source of a demo's reply: a script that is being played. Its pauses watch the client."""

    def __init__(self, script: Script, exchange: Exchange) -> None:
        self.headers = script.headers
        self._exchange = exchange
        self._steps = iter(script.steps)
        self._next = next(self._steps, None)

    @property
    def done(self) -> bool:
        return self._next is None

    def take(self, tick_s: float) -> bytes | None:
        if self._next is None:
            return b""
        pause_s, data = self._next
        self._exchange.pause(min(pause_s, tick_s))
        if pause_s > tick_s:
            self._next = (pause_s - tick_s, data)
            return None
        self._next = next(self._steps, None)
        return data

    def close(self) -> None:
        self._next = None


def _take_source(exchange: Exchange) -> Source:
    """Return the body and remove it from the exchange: they refer to each other, a cycle that would keep the connection
    until the garbage collector runs."""
    source, exchange.source = exchange.source, None
    if source is None:
        raise UpstreamProtocolError("The upstream's reply can't be read.")
    return source


def _goes_direct(host: str, no_proxy: str) -> bool:
    """Return whether a host is on a list of hosts without a proxy: names, suffixes, addresses, networks, or *."""
    for entry in no_proxy.replace(",", " ").split():
        suffix = entry.lstrip("*").lstrip(".").lower()
        if entry == "*" or host == suffix or host.endswith("." + suffix) or _is_in_network(host, entry):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
