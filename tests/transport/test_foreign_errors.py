"""The table that turns exceptions of requests and urllib3 into ours: `responses` raises them in a server's place."""

from __future__ import annotations

import math
import ssl
from typing import Any

import pytest
import requests
import responses
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    DecodeError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from argoproxy.errors import ConnectTimeout, ProxyError, UpstreamProtocolError, UpstreamUnreachable
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.exchange import current_exchange
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import UpstreamRequest

URL = "http://up.test/v1/models"
POOL, CONNECTION = HTTPConnectionPool("up.test"), HTTPConnection("up.test")
NO_NAME = NameResolutionError("up.test", CONNECTION, OSError("no such name"))  # type: ignore[arg-type]
REFUSED = NewConnectionError(CONNECTION, "refused")
RESET = ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
BAD_CERTIFICATE = ssl.SSLCertVerificationError("self-signed")
SEVERAL: Any = requests.exceptions

#: What is raised, and what it is told as before anything of the request was sent: kind, code.
FAILURES: dict[str, tuple[Exception, type[ProxyError], str]] = {
    "no connection in time": (requests.ConnectTimeout(), ConnectTimeout, "connect_timeout"),
    "no TLS in time": (requests.ReadTimeout(), ConnectTimeout, "connect_timeout"),
    "a proxy that fails": (SEVERAL.ProxyError(), UpstreamUnreachable, "proxy_error"),
    "a bad certificate": (SEVERAL.SSLError(BAD_CERTIFICATE), UpstreamUnreachable, "tls_verification_failed"),
    "a bad certificate, deep inside": (
        SEVERAL.SSLError(MaxRetryError(POOL, URL, BAD_CERTIFICATE)),
        UpstreamUnreachable,
        "tls_verification_failed",
    ),
    "no TLS": (SEVERAL.SSLError("wrong version number"), UpstreamUnreachable, "tls_failed"),
    "no such name": (
        requests.ConnectionError(MaxRetryError(POOL, URL, NO_NAME)),
        UpstreamUnreachable,
        "name_resolution_failed",
    ),
    "nobody there": (
        requests.ConnectionError(MaxRetryError(POOL, URL, REFUSED)),
        UpstreamUnreachable,
        "upstream_unreachable",
    ),
    "nobody there, as urllib3 says it": (REFUSED, UpstreamUnreachable, "upstream_unreachable"),
    "a connection that breaks": (requests.ConnectionError(RESET), UpstreamProtocolError, "upstream_disconnected"),
    "a connection that breaks, as urllib3 says it": (RESET, UpstreamProtocolError, "upstream_disconnected"),
    "a broken coding": (
        SEVERAL.ContentDecodingError(DecodeError("gzip")),
        UpstreamProtocolError,
        "upstream_protocol_error",
    ),
    "anything else of requests": (SEVERAL.InvalidHeader("odd"), UpstreamProtocolError, "upstream_protocol_error"),
    "anything else of urllib3": (HTTPError("odd"), UpstreamProtocolError, "upstream_protocol_error"),
}


@pytest.fixture
def server() -> Any:
    """What answers in the place of every server: nothing goes over a wire."""
    with responses.RequestsMock() as mock:
        yield mock


def opened() -> Any:
    """Send a request through our own adapter, whose `send` is what `responses` replaces."""
    watch = Watch(None, Poller())
    try:
        return Transport(1, math.inf).open(UpstreamRequest("GET", URL, ()), Timeouts(), watch)
    finally:
        watch.close()


@pytest.mark.parametrize(("raised", "kind", "code"), FAILURES.values(), ids=FAILURES)
def test_a_foreign_error_becomes_one_of_ours(server: Any, raised: Exception, kind: type[ProxyError], code: str) -> None:
    server.get(URL, body=raised)
    with pytest.raises(ProxyError) as caught:
        opened()
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert "up.test" not in caught.value.message, "no message names the upstream"


@pytest.mark.parametrize("raised", [SEVERAL.ProxyError(RESET), requests.ConnectionError(RESET)])
def test_what_breaks_after_a_request_was_begun_is_no_matter_of_a_proxy(server: Any, raised: Exception) -> None:
    def begin_and_break(_: requests.PreparedRequest) -> Any:
        exchange = current_exchange.get()
        assert exchange
        exchange.sends, exchange.is_fresh = 1, True
        raise raised

    server.add_callback("GET", URL, begin_and_break)
    with pytest.raises(UpstreamProtocolError) as caught:
        opened()
    assert caught.value.code == "upstream_disconnected"


def test_what_is_no_error_of_the_libraries_is_raised_as_it_is(server: Any) -> None:
    server.get(URL, body=RuntimeError("ours"))
    with pytest.raises(RuntimeError, match="ours"):
        opened()


def test_an_answer_without_a_connection_has_no_body(server: Any) -> None:
    server.get(URL, json={"data": []})
    with pytest.raises(UpstreamProtocolError):
        opened()
