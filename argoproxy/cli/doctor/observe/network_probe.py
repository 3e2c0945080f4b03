"""The way to a server, step by step: its name, a connection, TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import certifi

from argoproxy.cli.doctor.judge.observations import Certificate, HttpAnswer, Network
from argoproxy.protocol.access.masking import mask_urls
from argoproxy.transport.connect import NOT_VERIFIED, Resolver, make_context
from argoproxy.transport.connection_errors import reason_of
from argoproxy.transport.exchange import AddressInfo

STEP_S = 5.0
DAY_S = 86400.0
#: The longest head that is read where the certificate is not trusted.
LONGEST_HEAD = 16 * 1024


def probe_network(url: str, hop: str, ca_bundle: str | None) -> Network:
    """Resolve, connect and shake hands. `hop` is the URL of the proxy in between, the URL itself where there is none;
    through a proxy only that is connected to."""
    parts, is_direct = urlsplit(hop), hop == url
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    network = Network(host, port, hop="" if is_direct else mask_urls(hop))
    begun = time.monotonic()
    try:
        addresses = Resolver().lookup(host, port).result(STEP_S)
    except LateError:
        return replace(network, dns_reason="the resolver does not answer")
    except OSError as error:
        return replace(network, dns_reason=reason_of(error) or str(error))
    names = tuple(dict.fromkeys(str(address[4][0]) for address in addresses))
    network = replace(network, addresses=names, dns_ms=_ms_since(begun))
    bundle = certifi.where() if ca_bundle is None else ca_bundle
    return _probe_tcp(network, addresses, bundle if secure and is_direct else None)


def _ms_since(begun: float) -> float:
    return round(1000 * (time.monotonic() - begun), 1)


def _probe_tcp(network: Network, addresses: Sequence[AddressInfo], bundle: str | None) -> Network:
    """Connect to the first address that accepts it; with TLS if there is a bundle."""
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        begun = time.monotonic()
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(STEP_S)
                sock.connect(address)
                network = replace(network, peer=f"{address[0]}:{address[1]}", tcp_ms=_ms_since(begun))
                return network if bundle is None else replace(network, tls=probe_tls(sock, network.host, bundle))
        except OSError as error:
            problem = error
    refused = isinstance(problem, ConnectionRefusedError)
    reason = reason_of(problem) if problem else ""
    return replace(network, tcp_reason=reason or "no connection", is_refused=refused)


def probe_tls(sock: socket.socket, host: str, bundle: str) -> Certificate:
    """Shake hands on a connection. If the certificate is not trusted, a second connection without verification shows
    what the server's clock says; it carries no credentials."""
    peer = sock.getpeername()
    try:
        with make_context(bundle).wrap_socket(sock, server_hostname=host) as tls:
            end = str((tls.getpeercert() or {}).get("notAfter", ""))
            days_left = (ssl.cert_time_to_seconds(end) - time.time()) / DAY_S if end else None
            return Certificate(tls.version() or "TLS", days_left, bundle=bundle)
    except ssl.SSLCertVerificationError as error:
        answer = _ask_unverified(peer, host)
        return Certificate(verify_code=error.verify_code, reason=error.verify_message, bundle=bundle, answer=answer)
    except (OSError, ValueError) as error:
        return Certificate(reason=reason_of(error) or str(error) or "the handshake failed", bundle=bundle)


def speaks_tls(host: str, port: int) -> bool:
    """Return whether a server shakes hands, whatever its certificate."""
    try:
        with socket.create_connection((host, port), STEP_S) as sock:
            make_context(NOT_VERIFIED).wrap_socket(sock, server_hostname=host).close()
    except (OSError, ValueError):
        return False
    return True


def _ask_unverified(peer: tuple[str, int], host: str) -> HttpAnswer:
    """Return the head of an answer to `HEAD /`, an empty answer if there is none."""
    data = b""
    with (
        suppress(OSError),
        socket.create_connection(peer[:2], STEP_S) as sock,
        make_context(NOT_VERIFIED).wrap_socket(sock, server_hostname=host) as tls,
    ):
        tls.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        while b"\r\n\r\n" not in data and len(data) < LONGEST_HEAD and (piece := tls.recv(4096)):
            data += piece
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return HttpAnswer(headers=headers, at_s=time.time())
