"""Open connections to upstreams, where each wait (for the name, the connection, TLS) watches the client too."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.ssltransport import SSLTransport

from argoproxy.transport.exchange import AddressInfo, Exchange
from argoproxy.transport.parallel import Threads, fulfil
from argoproxy.transport.watch import READABLE, WRITABLE

#: In place of a bundle: certificates are not verified.
NOT_VERIFIED = ""

Option = tuple[int, int, int | bytes]
#: Bytes that may wait unsent in the kernel (TCP_NOTSENT_LOWAT). Without a limit it takes megabytes of an upload at
#: once, and `idle_timeout` could not see whether the upstream takes any of it.
UNSENT_LIMIT = 128 * 1024
#: Lookups at the same time.
MOST_LOOKUPS = 64


class Resolver:
    """Resolves names in threads; requests for the same name at the same time share a lookup.

    A lookup can't be interrupted, and takes as long as the system's resolver allows (resolv.conf(5): some 30 seconds).
    So the number of threads is limited, further lookups wait for their turn, and no thread keeps the process alive.
    """

    def __init__(self) -> None:
        self._threads = Threads(MOST_LOOKUPS)
        self._lookups: dict[tuple[str, int], Future[Sequence[AddressInfo]]] = {}
        self._lock = threading.Lock()

    def lookup(self, host: str, port: int) -> Future[Sequence[AddressInfo]]:
        """Begin to resolve a host. The future gets OSError where that fails, socket.gaierror for an unknown name."""
        with self._lock:
            future = self._lookups.get((host, port))
            if future is not None:
                return future
            future = self._lookups[host, port] = Future()
        try:
            self._threads.run(partial(self._run, host, port, future))
        except RuntimeError as error:
            self._remove(host, port)
            future.set_exception(OSError(str(error)))
        return future

    def _run(self, host: str, port: int, future: Future[Sequence[AddressInfo]]) -> None:
        fulfil(future, partial(resolve_blocking, host, port))
        del future  # a failure's traceback holds this frame, and the future holds the failure
        self._remove(host, port)

    def _remove(self, host: str, port: int) -> None:
        with self._lock:
            del self._lookups[host, port]


def resolve_blocking(host: str, port: int) -> Sequence[AddressInfo]:
    """Resolve a host, however long that takes. Raises OSError."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or over 63 characters, in the codec `idna`
        raise socket.gaierror("no valid host name") from None
    if not addresses:
        raise socket.gaierror("no address")
    return addresses


def open_connection(host: str, port: int, options: Sequence[Option], exchange: Exchange) -> socket.socket:
    """Connect to a host: to its addresses in turn, each with its share of the time that is left.

    Raises OSError (socket.gaierror where it has no address), UpstreamTimeout, ClientGone.
    """
    *others, last = _addresses(host, port, exchange)
    for index, address in enumerate(others):
        with suppress(OSError):
            return _open_socket(address, options, exchange, exchange.left_s / (len(others) - index + 1))
    return _open_socket(last, options, exchange, math.inf)


def _open_socket(info: AddressInfo, options: Sequence[Option], exchange: Exchange, seconds: float) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        for option in (*options, (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)):
            sock.setsockopt(*option)
        sock.settimeout(0)
        _connect(sock, address, exchange, seconds)
    except BaseException:
        exchange.unregister()
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, address: Any, exchange: Exchange, seconds: float) -> None:
    try:
        sock.connect(address)
    except BlockingIOError:  # EINPROGRESS: the socket becomes writable when it is done, well or not (connect(2))
        if not exchange.wait(sock, WRITABLE, seconds):
            raise TimeoutError("no connection in this address's share of the time") from None
        if errno := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(errno, os.strerror(errno)) from None


def _addresses(host: str, port: int, exchange: Exchange) -> Sequence[AddressInfo]:
    host = host.strip("[]")
    # An address is parsed at once; only a name is worth a thread.
    return resolve_blocking(host, port) if _is_address(host) else exchange.resolve(host, port)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def make_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context that verifies certificates by a bundle, a file or a folder; None: by that of requests."""
    context = create_urllib3_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_bundle == NOT_VERIFIED:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
    is_folder = os.path.isdir(bundle)
    context.load_verify_locations(capath=bundle if is_folder else None, cafile=None if is_folder else bundle)
    return context


def start_tls(sock: Any, context: ssl.SSLContext, host: str, exchange: Exchange) -> Any:
    """Do the handshake on a connection and return its TLS socket. Raises OSError, UpstreamTimeout, ClientGone."""
    if isinstance(sock, ssl.SSLSocket):
        return TlsInTls(sock, context, host, exchange.left_s)
    tls = context.wrap_socket(
        sock,
        server_hostname=host,
        do_handshake_on_connect=False,
        # Else a connection that is cut without TLS's close_notify looks like the regular end of a body.
        suppress_ragged_eofs=False,
    )
    try:
        while (interest := _continue_handshake(tls)) and exchange.wait(tls, interest):
            pass
    except BaseException:
        exchange.unregister()
        tls.close()
        raise
    return tls


def _continue_handshake(tls: ssl.SSLSocket) -> int:
    """Go on with the handshake; return what to wait for, 0 when it is done. Raises OSError."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return READABLE
    except ssl.SSLWantWriteError:
        return WRITABLE
    return 0


class TlsInTls(SSLTransport):
    """TLS within the TLS of an `https` proxy. Its handshake and sending block: each is bounded by `seconds`."""

    def __init__(self, sock: ssl.SSLSocket, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Raises OSError."""
        self._seconds = seconds
        sock.settimeout(seconds)
        super().__init__(sock, context, server_hostname=host, suppress_ragged_eofs=False)
        sock.settimeout(0)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send all of the data, and return its length. Raises OSError."""
        # Not without blocking: urllib3 loses what is encrypted already where the connection below takes only a part.
        self.socket.settimeout(self._seconds)
        try:
            return super().send(bytes(data), flags)
        finally:
            self.socket.settimeout(0)

    def pending(self) -> int:
        """Return how many bytes are decrypted already."""
        return self.sslobj.pending()

    def setsockopt(self, *option: Any) -> None:
        """Set an option of the connection below."""
        self.socket.setsockopt(*option)
