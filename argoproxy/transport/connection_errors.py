"""Errors of connections to upstreams, with the reason and the address for logs."""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import urlsplit

from argoproxy.errors import UpstreamProtocolError, UpstreamUnreachable

PROXY_ERROR = "proxy_error"
#: Names the setting that makes TLS trust another authority.
CA_HINT = "REQUESTS_CA_BUNDLE names a file of authorities to trust"


def connect_error(error: OSError) -> UpstreamUnreachable:
    """Return the error for a connection that could not be made."""
    if isinstance(error, socket.gaierror):
        return _with_reason(
            UpstreamUnreachable("The upstream's host name can't be resolved.", code="name_resolution_failed"), error
        )
    return _with_reason(UpstreamUnreachable("The connection to the upstream failed."), error)


def tls_error(error: Exception) -> UpstreamUnreachable | UpstreamProtocolError:
    """Return the error for a TLS handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        failure = UpstreamUnreachable(
            "TLS verification of the upstream's certificate failed.", code="tls_verification_failed"
        )
        return _with_reason(failure, error)
    if isinstance(error, ConnectionError):
        return disconnected_error()
    return _with_reason(UpstreamUnreachable("The TLS handshake with the upstream failed.", code="tls_failed"), error)


def proxy_error(reason: str = "", error: Exception | None = None) -> UpstreamUnreachable:
    """Return the error for an HTTP proxy, between us and the upstream, that failed."""
    failure = UpstreamUnreachable("The HTTP proxy in front of the upstream failed.", code=PROXY_ERROR)
    failure.reason = reason or (reason_of(error) if error else "")
    return failure


def disconnected_error() -> UpstreamProtocolError:
    """Return the error for a connection that ended before a reply."""
    return UpstreamProtocolError("The upstream closed the connection before it replied.", code="upstream_disconnected")


def reason_of(error: Exception) -> str:
    """Return in a few words why a connection failed, "" where that is unknown."""
    if isinstance(error, socket.gaierror):
        return "name not found" if error.errno != socket.EAI_AGAIN else "name not found (the resolver does not answer)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {getattr(error, 'verify_message', '')}; {CA_HINT}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'connection closed').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "timed out"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else ""


def address_of(url: str) -> str:
    """Return host:port of a URL; no path, query or credentials."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_reason(failure: UpstreamUnreachable, error: Exception) -> UpstreamUnreachable:
    failure.reason = reason_of(error)
    return failure
