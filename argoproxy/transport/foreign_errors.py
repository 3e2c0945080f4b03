"""Turn what requests, urllib3, ssl and the system raise into ProxyErrors; with the reason and the address, for logs."""

from __future__ import annotations

import os
import re
import socket
import ssl
import traceback
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from argoproxy.errors import ConnectTimeout, ProxyError, UpstreamProtocolError, UpstreamUnreachable
from argoproxy.transport.exchange import Exchange

PROXY_ERROR = "proxy_error"
#: Names the setting that makes TLS trust another authority.
CA_HINT = "REQUESTS_CA_BUNDLE names a file of authorities to trust"

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")

_Row = tuple[type[BaseException], Callable[[], ProxyError]]
#: The first row counts whose class is that of an error, or of what it wraps.
_TABLE: tuple[_Row, ...] = (
    (
        requests.ConnectTimeout,
        lambda: ConnectTimeout("The connection to the upstream was not made in time."),
    ),
    (requests.ReadTimeout, lambda: ConnectTimeout("The TLS handshake with the upstream was not complete in time.")),
    (
        requests.exceptions.ProxyError,
        lambda: UpstreamUnreachable("The HTTP proxy in front of the upstream failed.", code=PROXY_ERROR),
    ),
    (
        ssl.SSLCertVerificationError,
        lambda: UpstreamUnreachable(
            "TLS verification of the upstream's certificate failed.", code="tls_verification_failed"
        ),
    ),
    (
        requests.exceptions.SSLError,
        lambda: UpstreamUnreachable("The TLS handshake with the upstream failed.", code="tls_failed"),
    ),
    (
        NameResolutionError,
        lambda: UpstreamUnreachable("The upstream's host name can't be resolved.", code="name_resolution_failed"),
    ),
    (NewConnectionError, lambda: UpstreamUnreachable("The connection to the upstream failed.")),
    (
        ConnectionError,
        lambda: UpstreamProtocolError(
            "The upstream closed the connection before it replied.", code="upstream_disconnected"
        ),
    ),
)
#: Once a request is being sent, the proxy was reached. urllib3 forgets that when it closes the connection, and wraps
#: the upstream's failure in its ProxyError (HTTPConnection.has_connected_to_proxy).
_TABLE_ONCE_BEGUN = tuple(row for row in _TABLE if row[0] is not requests.exceptions.ProxyError)


def translate(error: Exception, exchange: Exchange) -> ProxyError:
    """Return the ProxyError for a failure to get a reply's head."""
    causes = tuple(_causes(error))
    for kind, make in _TABLE_ONCE_BEGUN if exchange.is_begun else _TABLE:
        if any(isinstance(cause, kind) for cause in causes):
            failure = make()
            failure.reason = failure.reason or reason_of(causes)
            return failure
    return UpstreamProtocolError("The upstream sent something that is not a valid HTTP reply.")


def clear_frames(error: BaseException) -> None:
    """Clear the frames of an error and of all it wraps.

    Their local variables hold connections and exchanges, and errors, which hold the frames: only the garbage collector
    would end such cycles, and until then sockets stay open.
    """
    for cause in _causes(error):
        traceback.clear_frames(cause.__traceback__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it wraps: urllib3 keeps it in `reason`, requests in `args`; both chain errors as well."""
    while error is not None:
        yield error
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        error = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)


def reason_of(causes: Iterable[BaseException]) -> str:
    """Return in a few words why a connection failed, "" where that is unknown."""
    return next(filter(None, map(_reason, causes)), "")


def address_of(url: str) -> str:
    """Return host:port of a URL; no path, query or credentials."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "name not found" if error.errno != socket.EAI_AGAIN else "name not found (the resolver does not answer)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {getattr(error, 'verify_message', '')}; {CA_HINT}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'connection closed').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if not isinstance(error, OSError):
        return ""
    if refused := _TUNNEL.match(str(error)):
        return f"the proxy answered {refused.group(1)}"
    return os.strerror(error.errno).lower() if error.errno else ""
