"""Fetch a URL that a client named from the open internet, within limits: addresses, bytes, time, redirects.

A name is resolved once; all its addresses are checked, and the connection goes to one of those very addresses: a second
lookup could return another one (DNS rebinding). Each redirect begins anew. TLS verifies the name.

Sockets and http.client, because urllib3 can do a part of this only: `HTTPSConnectionPool(address, server_hostname=...)`
connects to a checked address, but its time-outs hold for each read, so that a server which sends a byte now and then is
never given up; and its socket can't be shut down from another thread while it connects, does the TLS handshake or waits
for a head, which is how a fetch ends when its client leaves.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from argoproxy.protocol.addresses import Address, AddressRule
from argoproxy.transport.connect import Resolver
from argoproxy.transport.exchange import AddressInfo

REDIRECTS = 5
PIECE = 64 * 1024
USER_AGENT = "argoproxy"
#: Longer than any signed URL.
LONGEST_URL = 16 * 1024

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_SAFE = "!#$%&'()*+,/:;=?@[]~"


class FetchError(Exception):
    """A URL can't be fetched. The message says why, without the address: it would let clients explore the network."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The limits of a fetch: seconds in total, bytes, addresses. `spend` is called with the number of bytes as they
    arrive and may raise FetchError; `names` resolves hosts."""

    seconds: float
    size: int
    addresses: AddressRule
    tls: Callable[[], ssl.SSLContext]
    spend: Callable[[int], None]
    names: Resolver = field(default_factory=Resolver)


class Fetch:
    """One fetch, which runs in a thread and which another thread may abandon."""

    def __init__(self, url: str, limits: FetchLimits) -> None:
        self._url = url
        self._limits = limits
        self._until = 0.0
        self._sock: socket.socket | None = None
        self._abandoned: Future[None] = Future()

    def run(self) -> bytes:
        """Return the body, following redirects. Raises FetchError."""
        self._until = time.monotonic() + self._limits.seconds
        url = self._url
        for _ in range(REDIRECTS + 1):
            try:
                result = self._request(_parse_url(url))
                url = url if isinstance(result, bytes) else urljoin(url, result)
            except TimeoutError:
                raise FetchError("it took too long") from None
            except ssl.SSLError:
                raise FetchError("TLS with its server failed") from None
            except (OSError, http.client.HTTPException, ValueError):
                raise FetchError("its server can't be reached or broke off") from None
            finally:
                self._close()
            if isinstance(result, bytes):
                return result
        raise FetchError(f"there are more than {REDIRECTS} redirects")

    def abandon(self) -> None:
        """Make it fail at once; called once, from another thread."""
        self._abandoned.set_result(None)
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _request(self, url: SplitResult) -> bytes | str:
        """Return the body, or the URL of a redirect."""
        sock = self._sock = self._connect(url)
        sock.settimeout(self._left_s())
        sock.sendall(_render_request(url))
        response = http.client.HTTPResponse(_Readable(sock, self._until), method="GET")  # type: ignore[arg-type]
        response.begin()
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return location.encode("latin-1", "replace").decode("utf-8", "replace")
        if response.status != 200:
            raise FetchError(f"its server answered with status {response.status}")
        if (response.getheader("Content-Encoding") or "identity") != "identity":
            raise FetchError("its server compressed it")
        return self._body(response)

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        limit = self._limits.size
        if (response.length or 0) > limit:
            raise FetchError(f"it is longer than {limit} bytes")
        body = bytearray()
        while piece := response.read1(PIECE):
            body += piece
            self._limits.spend(len(piece))
            if len(body) > limit:
                raise FetchError(f"it is longer than {limit} bytes")
        if self._abandoned.done():
            raise TimeoutError
        if response.length:
            raise FetchError("it broke off")
        return bytes(body)

    def _connect(self, url: SplitResult) -> socket.socket:
        """Connect to one of the checked addresses. `_sock` is set before each step, so that `abandon` can end it."""
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        failure: OSError = OSError("no address")
        for address in self._addresses(host, port):
            sock = self._sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
            sock.settimeout(self._left_s())
            try:
                sock.connect((str(address), port))
            except OSError as error:
                failure = error
                sock.close()
                continue
            return self._wrap_tls(sock, host) if url.scheme == "https" else sock
        raise failure

    def _wrap_tls(self, sock: socket.socket, host: str) -> socket.socket:
        wrapped = self._limits.tls().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        self._sock = wrapped
        wrapped.settimeout(self._left_s())
        wrapped.do_handshake()
        return wrapped

    def _addresses(self, host: str, port: int) -> Sequence[Address]:
        """Resolve a name, once. Raises FetchError unless all its addresses are allowed."""
        try:
            addresses = [ipaddress.ip_address(host)]  # needs no lookup, and so no other thread
        except ValueError:
            infos = self._lookup(host, port)
            addresses = list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in infos))
        if not all(self._limits.addresses.allows(address, port) for address in addresses):
            raise FetchError("its address is not public")
        return addresses

    def _lookup(self, host: str, port: int) -> Sequence[AddressInfo]:
        future = self._limits.names.lookup(host, port)
        try:
            wait(list[Future[Any]]((future, self._abandoned)), self._left_s(), FIRST_COMPLETED)
            if not future.done():
                raise TimeoutError
            return future.result()
        finally:
            del future  # a failure's traceback holds this frame, and the future holds the failure

    def _left_s(self) -> float:
        left_s = self._until - time.monotonic()
        if left_s <= 0 or self._abandoned.done():
            raise TimeoutError
        return left_s

    def _close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None


class _Readable:
    """A socket that can be read from until a point in time; http.client asks it for a file."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._raw = _Raw(sock, until)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(self._raw)


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        return self._sock.recv_into(buffer)


def _parse_url(text: str) -> SplitResult:
    """Parse a URL. Raises FetchError if it is malformed or unsafe: what parsers may read differently is refused."""
    if len(text) > LONGEST_URL:
        raise FetchError(f"its URL is longer than {LONGEST_URL} characters")
    if _FORBIDDEN.search(text):
        raise FetchError("its URL contains a character that no URL may contain")
    try:
        url = urlsplit(text)
        port, host = url.port, (url.hostname or "").encode("idna").decode()
    except ValueError:
        raise FetchError("its URL can't be read") from None
    if url.scheme not in ("http", "https"):
        raise FetchError("its URL begins neither with http:// nor with https://")
    if url.username is not None or url.password is not None:
        raise FetchError("its URL holds credentials")
    if not _HOST.fullmatch(host) or port == 0:
        raise FetchError("its URL names no host")
    return url._replace(netloc=(f"[{host}]" if ":" in host else host) + (f":{port}" if port else ""))


def _render_request(url: SplitResult) -> bytes:
    target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_SAFE)
    head = (
        f"GET {target} HTTP/1.1",
        f"Host: {url.netloc}",
        f"User-Agent: {USER_AGENT}",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode("ascii")
