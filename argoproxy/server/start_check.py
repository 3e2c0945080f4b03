"""Check once at the start whether the endpoints accept connections (with TLS for https), without sending a request.

A failure is only logged. Requests to such an endpoint are sent all the same.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from argoproxy.protocol.access.printable import log_value
from argoproxy.transport.connect import make_context
from argoproxy.transport.connection_errors import address_of, reason_of

logger = logging.getLogger("argoproxy")

CONNECT_S = 5.0
#: Files that exist in containers of Docker and of Podman.
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
CONTAINER_HINT = "; in a container, localhost is the container itself (docs/deploy.md#containers)"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class EndpointServer:
    """A server to check: the name of the upstream, the URL of the first hop to it (a proxy's, or its own), and the CA
    bundle: a file or folder, or "" where certificates are not verified."""

    upstream: str
    url: str
    ca_bundle: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.uses_tls else 80)

    @property
    def uses_tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def address(self) -> str:
        """The host and port, as logs write them."""
        return address_of(self.url)


def make_check(endpoints: Sequence[EndpointServer]) -> Callable[[], None]:
    """Return a function that checks all endpoints, each in a daemon thread."""

    def start() -> None:
        for endpoint in endpoints:
            threading.Thread(target=warn_if_unreachable, args=(endpoint,), daemon=True).start()

    return start


def distinct(endpoints: Iterable[EndpointServer]) -> Sequence[EndpointServer]:
    """Return one endpoint for each address, without those that have no valid URL."""
    return tuple({endpoint.address: endpoint for endpoint in endpoints if _is_url(endpoint.url)}.values())


def warn_if_unreachable(endpoint: EndpointServer) -> None:
    """Log a warning with address and reason if no connection can be made."""
    try:
        _connect(endpoint)
    except (OSError, ValueError) as error:
        reason = reason_of(error) or "no connection"
        is_refused = isinstance(error, ConnectionRefusedError) and endpoint.host in _LOOPBACK
        is_own = is_refused and any(map(os.path.exists, CONTAINER_MARKS))
        logger.warning(
            "code=upstream_unreachable upstream=%s address=%s reason=%s: the endpoint can't be reached now%s",
            endpoint.upstream,
            endpoint.address,
            log_value(reason),
            CONTAINER_HINT if is_own else "",
        )


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _connect(endpoint: EndpointServer) -> None:
    with socket.create_connection((endpoint.host, endpoint.port), CONNECT_S) as sock:
        if endpoint.uses_tls:
            make_context(endpoint.ca_bundle).wrap_socket(sock, server_hostname=endpoint.host).close()
