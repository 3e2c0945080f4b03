"""Wait for many clients at once."""

from __future__ import annotations

import select
from collections.abc import Iterator

from argoproxy.workers.client_connection import Connection

#: Clients that are served before a new one is accepted: 64 KiB of tiny chunks from each take some 8 ms to scan.
EVENTS = 32
#: One-shot, because a thread serves the connection after an event: a level-triggered registration would wake the main
#: thread again and again while it does (epoll(7), EPOLLONESHOT).
READABLE_ONCE = select.EPOLLIN | select.EPOLLONESHOT
WRITABLE_ONCE = select.EPOLLOUT | select.EPOLLONESHOT


class ClientPoll:
    """Reports an event of a client once, until it is asked for again. A descriptor stays registered while a thread
    serves its connection: to modify a registration is cheaper than to remove and add it for each request."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when `ready` has something to return."""
        return self._epoll.fileno()

    def expect_readable(self, conn: Connection) -> None:
        """Report when the client has sent something, or closed."""
        self._watch(conn, READABLE_ONCE)

    def expect_writable(self, conn: Connection) -> None:
        """Report when the client has read enough for the next answer to be written."""
        self._watch(conn, WRITABLE_ONCE)

    def ready(self) -> Iterator[Connection]:
        """Yield the connections with the event that was waited for."""
        for descriptor, _ in self._epoll.poll(0, EVENTS):
            conn = self._by_descriptor.get(descriptor)
            if conn is not None:  # not closed while an earlier one of these was handled
                yield conn

    def remove(self, conn: Connection) -> None:
        """Forget a connection that is about to be closed."""
        if self._by_descriptor.get(conn.descriptor) is conn:  # else the number was already given to another connection
            del self._by_descriptor[conn.descriptor]

    def _watch(self, conn: Connection, events: int) -> None:
        descriptor = conn.sock.fileno()
        if self._by_descriptor.get(descriptor) is conn:
            self._epoll.modify(descriptor, events)
        else:
            self._by_descriptor[descriptor] = conn
            self._epoll.register(descriptor, events)
