"""Send a request to an upstream and read the reply, watching the client at every wait.

Foreign exceptions end here: one table turns them into ours, around the call and around the body.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from argoproxy.errors import ClientGone, ConnectTimeout, ProxyError, UpstreamProtocolError, UpstreamUnreachable
from argoproxy.protocol.exchange import OF_THE_BYTES, Headers, header, without
from argoproxy.protocol.framing import Inflate
from argoproxy.protocol.secrets import Stars, stars_for
from argoproxy.protocol.sse import check_size
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.settings.targets import Access
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.demo import SCHEME, Script, perform
from argoproxy.watch import Watch
from argoproxy.wire.sending import WatchedAdapter
from argoproxy.wire.waiting import Exchange, Source, in_hand

IDENTITY = "identity"
#: How long a stream that has told its end may take to end its body, so that its connection can be kept.
SETTLE_S = 0.05
PLAIN_ACCESS = Access()

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Reply:
    """What an upstream sent back: its head is here, its body arrives. A body that could hide a secret in its content
    coding is given without it."""

    def __init__(self, status: int, source: Source, tick_s: float, stars: Stars) -> None:
        headers: Headers = tuple((name, stars.text(value)) for name, value in source.headers)
        self._coding = header(headers, "content-encoding").strip().lower() or IDENTITY
        self._hides = bool(stars) and self._coding != IDENTITY
        self.status = status
        self.headers = without(headers, OF_THE_BYTES) if self._hides else headers
        self._source = source
        self._tick_s = tick_s
        self._stars = stars

    def untouched(self) -> Iterator[bytes]:
        """Give the body as it arrives, in its content coding; b"" is a moment of silence."""
        return self.pieces() if self._hides else self._stars.over(self._arriving())

    def pieces(self) -> Iterator[bytes]:
        """Give the body as it arrives, content coding taken away; b"" is a moment of silence."""
        arriving = self._arriving()
        plain = arriving if self._coding == IDENTITY else _inflated(arriving, Inflate(self._coding))
        return self._stars.over(plain)

    def read(self) -> bytes:
        """Take the whole body, content coding taken away. Raises ProxyError, ClientGone."""
        parts, size = [], 0
        for piece in self.pieces():
            parts.append(piece)
            size += len(piece)
            check_size(size)
        return b"".join(parts)

    def read_what_there_is(self) -> bytes:
        """Take the body of an error, whose status counts even when its body breaks. Raises ClientGone."""
        try:
            return self.read()
        except ProxyError:
            return b""

    def settle(self) -> None:
        """Let go of a reply that said all it had to: its connection is kept if the body ends at once."""
        until = time.monotonic() + SETTLE_S
        try:
            while not self._source.done and (left_s := until - time.monotonic()) > 0:
                self._source.take(left_s)
        except (ProxyError, ClientGone):
            pass
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()

    def _arriving(self) -> Iterator[bytes]:
        source, tick_s = self._source, self._tick_s
        while not source.done:
            piece = source.take(tick_s)
            if piece is None:
                yield b""
            elif piece:
                yield piece


class Transport:
    """One requests.Session for a whole process. Its environment is never looked at, cookies are never kept."""

    def __init__(
        self, connections: int, tick_s: float, access: Access = PLAIN_ACCESS, auth: Auth | None = None
    ) -> None:
        """`tick_s` is the silence after which a reply gives an empty piece; the `proxies` of `access` map a scheme to
        its proxy's URL, `all` to that of both, `no` to a list of hosts without one. `auth` signs requests."""
        self._tick_s = tick_s
        self._access = access
        self._auth = auth
        self._proxies = dict(access.proxies)
        self._secrets = tuple(secret.text.encode("latin-1", "replace") for secret in access.secrets)
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, WatchedAdapter(connections, access.ca_bundle))
        self._session.mount(SCHEME, _DemoAdapter())

    def open(self, request: UpstreamRequest, timeouts: Timeouts, watch: Watch) -> Reply:
        """Send a request and wait for the head of its reply. Raises ProxyError, ClientGone.

        It is sent once more where a kept connection proved stale before anything came back, if its body can be: a
        server that closes an idle connection has not seen what was sent then (RFC 9112 section 9.5).
        """
        prepared = self._prepared(request)
        exchange = Exchange(watch, timeouts, prepared.url or request.url)
        try:
            self._send(prepared, exchange, timeouts)
        except UpstreamProtocolError:
            if not exchange.was_stale or not isinstance(request.body, bytes | None):
                raise
            exchange = exchange.again()
            self._send(prepared, exchange, timeouts)
        stars = stars_for((request.secret, *self._secrets))
        return Reply(exchange.status, _source(exchange), self._tick_s, stars)

    def _send(self, prepared: requests.PreparedRequest, exchange: Exchange, timeouts: Timeouts) -> None:
        token = in_hand.set(exchange)
        try:
            response = self._session.get_adapter(exchange.url).send(
                prepared, stream=True, timeout=(timeouts.connect_s, None), proxies=self._proxies_for(exchange.url)
            )
            exchange.status = response.status_code
        except (requests.RequestException, HTTPError) as error:
            exchange.ends()
            raise _translated(error) from None
        except BaseException:
            exchange.ends()
            raise
        finally:
            in_hand.reset(token)

    def close(self) -> None:
        """Close the connections nobody uses; those in use are closed when they are given back."""
        self._session.close()

    def _prepared(self, request: UpstreamRequest) -> requests.PreparedRequest:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = request.method, request.url, request.body  # type: ignore[assignment]
        prepared.headers = CaseInsensitiveDict(request.headers)
        for name, value in self._access.headers:
            prepared.headers[name] = value
        if request.length is not None and request.body is not None:
            prepared.headers["Content-Length"] = str(request.length)
        return self._auth(prepared) if self._auth else prepared

    def _proxies_for(self, url: str) -> dict[str, str]:
        if not self._proxies or _goes_direct(urlsplit(url).hostname or "", self._proxies.get("no", "")):
            return {}
        return self._proxies


class _DemoAdapter(BaseAdapter):
    """Plays the demo's scripts."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        body = request.body if isinstance(request.body, bytes) else b""
        script = perform(urlsplit(request.url or "").path, body)
        if exchange := in_hand.get():
            exchange.source = _Played(script, exchange)
        response = requests.Response()
        response.status_code = script.status
        return response

    def close(self) -> None:
        """Nothing is open."""


class _Played:
    """A script on its way; a Source. Its pauses watch the client."""

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


def _inflated(pieces: Iterable[bytes], inflate: Inflate) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield from inflate.feed(piece)
        else:
            yield piece
    inflate.end()


def _source(exchange: Exchange) -> Source:
    """Take the body from the exchange: what they hold of each other would outlive them until garbage is collected."""
    source, exchange.source = exchange.source, None
    if source is None:
        raise UpstreamProtocolError("The upstream's reply has no body to read.")
    return source


def _goes_direct(host: str, no_proxy: str) -> bool:
    """Whether a host is on a list of those to be reached without a proxy: names, suffixes, addresses, networks."""
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


def _translated(error: Exception) -> ProxyError:
    """Turn a failure to get a reply's head into ours; the table of all of them."""
    causes = tuple(_causes(error))
    for kind, made in _TABLE:
        if any(isinstance(cause, kind) for cause in causes):
            return made()
    return UpstreamProtocolError("The upstream's reply can't be understood.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what it wraps, in the ways requests and urllib3 wrap."""
    while error is not None:
        yield error
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__)
        error = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)


_TABLE: tuple[tuple[type[BaseException], Callable[[], ProxyError]], ...] = (
    (
        requests.ConnectTimeout,
        lambda: ConnectTimeout("No connection to the upstream in time."),
    ),
    (requests.ReadTimeout, lambda: ConnectTimeout("No TLS with the upstream in time.")),
    (
        requests.exceptions.ProxyError,
        lambda: UpstreamUnreachable("The proxy to the upstream failed.", code="proxy_error"),
    ),
    (
        ssl.SSLCertVerificationError,
        lambda: UpstreamUnreachable(
            "TLS verification of the upstream's certificate failed.", code="tls_verification_failed"
        ),
    ),
    (requests.exceptions.SSLError, lambda: UpstreamUnreachable("TLS with the upstream failed.", code="tls_failed")),
    (
        NameResolutionError,
        lambda: UpstreamUnreachable("The upstream's name can't be resolved.", code="name_resolution_failed"),
    ),
    (NewConnectionError, lambda: UpstreamUnreachable("The upstream can't be reached.")),
    (
        ConnectionError,
        lambda: UpstreamProtocolError("The upstream broke off before it answered.", code="upstream_disconnected"),
    ),
)
