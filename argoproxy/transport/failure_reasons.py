"""Why no connection could be made, and to which address, in a few words for the log."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

#: Resolver the setting that makes TLS trust another authority.
CA_HINT = "REQUESTS_CA_BUNDLE names a file of authorities to trust"

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def reason_of(causes: Iterable[BaseException]) -> str:
    """Return why a connection failed, by an error and what caused it; "" where nothing of it is known."""
    return next(filter(None, map(_reason, causes)), "")


def address_of(url: str) -> str:
    """Return host:port of a URL, without anything else that it holds."""
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
