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

from argoproxy.transport.exchange import AddressInfo, Exchange, current_exchange
from argoproxy.transport.parallel import Threads, fulfil
from argoproxy.transport.watch import READABLE, WRITABLE

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


class WatchedTlsSocket(ssl.SSLSocket):
    """A TLS socket whose handshake waits by the current exchange."""

    def do_handshake(self, *args: Any) -> None:
        """Do the handshake. Raises ssl.SSLError, OSError, UpstreamTimeout, ClientGone."""
        exchange = current_exchange.get()
        if exchange is None:
            super().do_handshake(*args)
            return
        self.settimeout(0)
        try:
            while (interest := self._continue_handshake()) and exchange.wait(self, interest):
                pass
        except Exception:
            self.close()
            raise

    def _continue_handshake(self) -> int:
        """Go on with the handshake; return what to wait for, 0 when it is done."""
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            return READABLE
        except ssl.SSLWantWriteError:
            return WRITABLE
        return 0
