"""The addresses of names: each asked for once at a time, by a thread that nobody waits for when the process ends.

A lookup can't be interrupted, and takes as long as the system's resolver allows (resolv.conf(5): some 30 seconds). So
the number of lookups under way is limited: those beyond wait for their turn.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from argoproxy.transport.parallel import Threads, fulfil

#: Family, kind, protocol, canonical name, address: what getaddrinfo gives.
Found = tuple[int, int, int, str, Any]


#: Lookups under way at once.
MOST_LOOKUPS = 64


class Resolver:
    """What is being asked for. A lookup can't be interrupted, so whoever asks for the same name shares one."""

    def __init__(self) -> None:
        self._threads = Threads(MOST_LOOKUPS)
        self._asked: dict[tuple[str, int], Future[Sequence[Found]]] = {}
        self._lock = threading.Lock()

    def ask(self, host: str, port: int) -> Future[Sequence[Found]]:
        """Ask for the addresses of a host: they come, or OSError does (socket.gaierror where it has none)."""
        with self._lock:
            asked = self._asked.get((host, port))
            if asked is not None:
                return asked
            asked = self._asked[host, port] = Future()
        try:
            self._threads.run(partial(self._look_up, host, port, asked))
        except RuntimeError as error:
            self._forget(host, port)
            asked.set_exception(OSError(str(error)))
        return asked

    def _look_up(self, host: str, port: int, asked: Future[Sequence[Found]]) -> None:
        fulfil(asked, partial(resolved, host, port))
        del asked  # an error's traceback holds this frame, and the future holds the error
        self._forget(host, port)

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            del self._asked[host, port]


def resolved(host: str, port: int) -> Sequence[Found]:
    """Ask the system for the addresses of a host, however long that takes. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror("no name that can be asked for") from None
    if not found:
        raise socket.gaierror("no address")
    return found
