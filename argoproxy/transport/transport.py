"""Send a request to an upstream and read the reply, watching the client at every wait.

Foreign exceptions end here: one table turns them into ours, around the call and around the body.
"""

from __future__ import annotations

import ipaddress
import ssl
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from argoproxy.errors import ConnectTimeout, ProxyError, UpstreamProtocolError, UpstreamUnreachable
from argoproxy.protocol.access.secrets import redactor_for
from argoproxy.protocol.http_messages import without
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.connection import WatchedAdapter
from argoproxy.transport.dns import Resolver
from argoproxy.transport.exchange import Exchange, Source, current_exchange
from argoproxy.transport.failure_reasons import address_of, reason_of
from argoproxy.transport.reply import Reply
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.demo import SCHEME, Script, make_script

PLAIN_ACCESS = Access()
PROXY_ERROR = "proxy_error"

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Transport:
    """One requests.Session for a whole process. Its environment is never looked at, cookies are never kept."""

    def __init__(
        self,
        connections: int,
        tick_s: float,
        access: Access = PLAIN_ACCESS,
        auth: Auth | None = None,
        not_passed: frozenset[str] = frozenset(),
    ) -> None:
        """`tick_s` is the silence after which a reply gives an empty piece; the `proxies` of `access` map a scheme to
        its proxy's URL, `all` to that of both, `no` to a list of hosts without one. `auth` signs requests,
        `not_passed` names headers of replies that stop here, in lower case."""
        self._tick_s = tick_s
        self._access = access
        self._auth = auth
        self._not_passed = not_passed
        self._proxies = dict(access.proxies)
        self._secrets = tuple(secret.text.encode("latin-1", "replace") for secret in (*access.keys, *access.hidden))
        self._names = Resolver()
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
        try:
            return self._opened(request, timeouts, watch)
        except ProxyError as error:
            if not error.reached:
                error.address = address_of(self._next_hop(request.url, error))
            raise

    def next_hop(self, url: str) -> str:
        """Return the URL of the proxy that a request for a URL goes to first; the URL itself where there is none."""
        return select_proxy(url, self._proxies_for(url)) or url

    def _next_hop(self, url: str, error: ProxyError) -> str:
        return self.next_hop(url) if error.code == PROXY_ERROR else url

    def _opened(self, request: UpstreamRequest, timeouts: Timeouts, watch: Watch) -> Reply:
        prepared = self._prepared(request)
        exchange = Exchange(watch, timeouts, prepared.url or request.url, self._names)
        try:
            self._send(prepared, exchange, timeouts)
        except UpstreamProtocolError:
            if not exchange.is_stale or not isinstance(request.body, bytes | None):
                raise
            exchange = exchange.copy_for_retry()
            self._send(prepared, exchange, timeouts)
        stars = redactor_for((request.secret, *self._secrets))
        reply = Reply(exchange.status, _source(exchange), self._tick_s, stars)
        reply.headers = without(reply.headers, self._not_passed) if self._not_passed else reply.headers
        return reply

    def _send(self, prepared: requests.PreparedRequest, exchange: Exchange, timeouts: Timeouts) -> None:
        token = current_exchange.set(exchange)
        try:
            response = self._session.get_adapter(exchange.url).send(
                prepared, stream=True, timeout=(timeouts.connect_s, None), proxies=self._proxies_for(exchange.url)
            )
            exchange.status = response.status_code
            return
        except (requests.RequestException, HTTPError) as error:
            failure = _translated(error, exchange)
            _let_go(error)
        except BaseException:
            exchange.unregister()
            raise
        finally:
            current_exchange.reset(token)
        exchange.unregister()
        try:
            raise failure
        finally:
            del failure

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
        script = make_script(urlsplit(request.url or "").path, body)
        if exchange := current_exchange.get():
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


def _translated(error: Exception, exchange: Exchange) -> ProxyError:
    """Turn a failure to get a reply's head into ours; the table of all of them."""
    causes = tuple(_causes(error))
    for kind, made in _AFTERWARDS if exchange.is_begun else _TABLE:
        if any(isinstance(cause, kind) for cause in causes):
            failure = made()
            failure.reason = failure.reason or reason_of(causes)
            return failure
    return UpstreamProtocolError("The upstream's reply can't be understood.")


def _let_go(error: BaseException) -> None:
    """Let go of what a foreign failure holds by its frames, which hold it: until garbage is collected, else."""
    for cause in _causes(error):
        traceback.clear_frames(cause.__traceback__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what it wraps, in the ways requests and urllib3 wrap."""
    while error is not None:
        yield error
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        error = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)


_Row = tuple[type[BaseException], Callable[[], ProxyError]]
_TABLE: tuple[_Row, ...] = (
    (
        requests.ConnectTimeout,
        lambda: ConnectTimeout("No connection to the upstream in time."),
    ),
    (requests.ReadTimeout, lambda: ConnectTimeout("No TLS with the upstream in time.")),
    (
        requests.exceptions.ProxyError,
        lambda: UpstreamUnreachable("The proxy to the upstream failed.", code=PROXY_ERROR),
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
#: Once a request was begun its connection was made, whatever urllib3 says of proxies then.
_AFTERWARDS = tuple(row for row in _TABLE if row[0] is not requests.exceptions.ProxyError)
