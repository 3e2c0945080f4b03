"""Large bodies that threads read, only so many at a time."""

from __future__ import annotations

from collections.abc import Iterator

from argoproxy.workers.connection import Connection


class UploadQueue:
    """Connections that wait until a thread may read their body, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        """Have at most so many bodies read at a time."""
        self._limit = limit
        self._waiting: dict[Connection, None] = {}
        self._begun: set[Connection] = set()

    def __contains__(self, conn: Connection) -> bool:
        """Return whether a thread reads this connection's body."""
        return conn in self._begun

    def add(self, conn: Connection) -> None:
        """Let a connection wait."""
        self._waiting[conn] = None

    def remove(self, conn: Connection) -> None:
        """Let a connection wait no longer."""
        self._waiting.pop(conn, None)

    def begin(self) -> Iterator[Connection]:
        """Return the connections whose bodies may be read from now on."""
        while self._waiting and len(self._begun) < self._limit:
            conn = next(iter(self._waiting))
            self.remove(conn)
            self._begun.add(conn)
            yield conn

    def end(self, conn: Connection) -> None:
        """Take note that a connection's body was read, or never will be."""
        self._begun.discard(conn)
