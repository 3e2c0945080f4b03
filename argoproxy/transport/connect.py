"""A connection to an upstream, made with every wait done by us: for its name, for its address, for TLS."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from argoproxy.transport.dns import Found, resolved
from argoproxy.transport.exchange import Exchange, current_exchange
from argoproxy.transport.watch import READABLE, WRITABLE

Option = tuple[int, int, int | bytes]
#: How much may wait unsent in the kernel: beyond that, what an upstream takes of an upload is seen as it takes it.
UNSENT_LIMIT = 128 * 1024


def connected(host: str, port: int, options: Sequence[Option], exchange: Exchange) -> socket.socket:
    """Connect to a host, to one of its addresses after the other, each with its share of the time that is left.

    Raises OSError (socket.gaierror where it has no address), UpstreamTimeout, ClientGone.
    """
    *others, last = _addresses(host, port, exchange)
    for tried, one in enumerate(others):
        with suppress(OSError):
            return _connection(one, options, exchange, len(others) - tried + 1)
    return _connection(last, options, exchange, 1)


def _connection(one: Found, options: Sequence[Option], exchange: Exchange, addresses: int) -> socket.socket:
    """Connect to one of so many addresses. Raises OSError, UpstreamTimeout, ClientGone."""
    family, kind, protocol, _, address = one
    sock = socket.socket(family, kind, protocol)
    try:
        for option in (*options, (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)):
            sock.setsockopt(*option)
        sock.settimeout(0)
        _connect(sock, address, exchange, math.inf if addresses == 1 else exchange.left_s / addresses)
    except BaseException:
        exchange.unregister()
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, address: Any, exchange: Exchange, seconds: float) -> None:
    try:
        sock.connect(address)
    except BlockingIOError:
        if not exchange.wait(sock, WRITABLE, seconds):
            raise TimeoutError("no connection in its share of the time") from None
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number)) from None


def _addresses(host: str, port: int, exchange: Exchange) -> Sequence[Found]:
    """Find the addresses of a host; a client that leaves does not wait for them."""
    host = host.strip("[]")
    return resolved(host, port) if _is_address(host) else exchange.addresses(host, port)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class WatchedTlsSocket(ssl.SSLSocket):
    """A socket that shakes hands by the exchange in hand."""

    def do_handshake(self, *args: Any) -> None:
        """Shake hands. Raises ssl.SSLError, OSError, UpstreamTimeout, ClientGone."""
        exchange = current_exchange.get()
        if exchange is None:
            super().do_handshake(*args)
            return
        self.settimeout(0)
        try:
            while (interest := self._needs()) and exchange.wait(self, interest):
                pass
        except Exception:
            self.close()
            raise

    def _needs(self) -> int:
        """Go on with shaking hands: what must be waited for, 0 when it is done."""
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            return READABLE
        except ssl.SSLWantWriteError:
            return WRITABLE
        return 0
