"""Servers that keep a client waiting before anything of HTTP is said."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import PATIENCE_S


@contextmanager
def full_backlog() -> Iterator[int]:
    """Give the port of a server that accepts no connection."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()[1]
        for one in waiting:
            one.close()


class SilentServer:
    """A server that accepts and says nothing; it remembers whom it accepted."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> socket.socket:
        """Take the next one that comes."""
        self._listener.settimeout(PATIENCE_S)
        sock, _ = self._listener.accept()
        sock.settimeout(PATIENCE_S)
        return sock

    def close(self) -> None:
        self._listener.close()


@contextmanager
def silent_server() -> Iterator[SilentServer]:
    """Give a server that accepts and says nothing."""
    server = SilentServer()
    yield server
    server.close()
