"""Connections to upstreams, kept for the next request."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any

from argoproxy.transport.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads: requests for the same origin share connections."""

    scheme: str
    host: str
    port: int
    #: The URL of the HTTP proxy in between, "" for none.
    proxy: str = ""

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy reads the requests. Through TLS it can't: it opens a tunnel."""
        return bool(self.proxy) and self.scheme == "http"


class KeptConnection:
    """An open connection on which no request is in progress."""

    __slots__ = ("origin", "sock")

    def __init__(self, origin: Origin, sock: Any) -> None:
        self.origin = origin
        self.sock = sock

    def is_usable(self) -> bool:
        """Return whether it is open and nothing has arrived: bytes now would belong to no request."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                # Below TLS, because SSLSocket.recv takes no flags.
                socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
            elif isinstance(self.sock, socket.socket):
                self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it."""
        self.sock.close()


class ConnectionPool:
    """Idle connections by origin; the one used last is taken first. Deques are thread-safe, so nothing is locked."""

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` idle connections for each origin."""
        self._limit = limit
        self._idle: dict[Origin, deque[KeptConnection]] = {}
        self._is_closed = False

    def take(self, origin: Origin) -> KeptConnection | None:
        """Return a usable connection, None where there is none."""
        idle = self._idle.get(origin)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread took the last one
                return None
            if connection.is_usable():
                return connection
            connection.close()
        return None

    def put(self, connection: KeptConnection) -> None:
        """Keep a connection, or close it where enough are kept."""
        idle = self._idle.setdefault(connection.origin, deque())
        if self._is_closed or len(idle) >= self._limit:
            connection.close()
        else:
            idle.append(connection)

    def close(self) -> None:
        """Close idle connections now, and those in use when they are put back."""
        self._is_closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Lease:
    """A connection that an exchange uses; `keep` or `drop` ends that, once."""

    def __init__(self, connection: KeptConnection, exchange: Exchange, pool: ConnectionPool | None) -> None:
        """`pool` is None where the connection can't be used again whatever comes."""
        self._connection = connection
        self._exchange = exchange
        self._pool = pool

    def keep(self) -> None:
        """Put the connection back, or close it where it can't be used again."""
        if self._pool is None or self._exchange.is_cut:
            self.drop()
            return
        self._exchange.unregister()
        self._pool.put(self._connection)

    def drop(self) -> None:
        """Close the connection."""
        # Unregistered first: the number of its descriptor may belong to another connection afterwards.
        self._exchange.unregister()
        self._connection.close()
