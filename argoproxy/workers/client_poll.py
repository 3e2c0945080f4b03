"""Wait for many clients at once."""

from __future__ import annotations

import select
from collections.abc import Iterator

from argoproxy.workers.connection import Connection

#: Clients that are looked at before a new one is accepted: 64 KiB of tiny chunks from each take some 8 ms to follow.
EVENTS = 32
READABLE_ONCE = select.EPOLLIN | select.EPOLLONESHOT
WRITABLE_ONCE = select.EPOLLOUT | select.EPOLLONESHOT


class ClientPoll:
    """Tells once, and no more until asked again, that a client has sent something. A descriptor stays registered while
    a thread serves its connection, which is cheaper than to register it again for each request."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when `ready` has something to return."""
        return self._epoll.fileno()

    def expect_bytes(self, conn: Connection) -> None:
        """Tell when the client has sent something."""
        self._watch(conn, READABLE_ONCE)

    def expect_reading(self, conn: Connection) -> None:
        """Tell when the client has read enough for the next answer to be written."""
        self._watch(conn, WRITABLE_ONCE)

    def ready(self) -> Iterator[Connection]:
        """Return the connections to which what was waited for has happened."""
        for descriptor, _ in self._epoll.poll(0, EVENTS):
            conn = self._by_descriptor.get(descriptor)
            if conn is not None:  # not closed by what came before it in the same round
                yield conn

    def remove(self, conn: Connection) -> None:
        """Forget a connection that is about to be closed."""
        if self._by_descriptor.get(conn.descriptor) is conn:  # else the number is another connection's already
            del self._by_descriptor[conn.descriptor]

    def _watch(self, conn: Connection, events: int) -> None:
        descriptor = conn.sock.fileno()
        if self._by_descriptor.get(descriptor) is conn:
            self._epoll.modify(descriptor, events)
        else:
            self._by_descriptor[descriptor] = conn
            self._epoll.register(descriptor, events)


def is_full(conn: Connection) -> bool:
    """Return whether so much of earlier answers is unread that a thread might wait to write the next one."""
    if conn.parser is None:  # nothing was written yet
        return False
    poll = select.poll()
    poll.register(conn.descriptor, select.POLLOUT)
    return not poll.poll(0)
