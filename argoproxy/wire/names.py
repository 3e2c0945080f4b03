"""The addresses of names: each asked for once at a time, by a thread that nobody waits for when the process ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

#: Family, kind, protocol, canonical name, address: what getaddrinfo gives.
Found = tuple[int, int, int, str, Any]


class Names:
    """What is being asked for. A lookup can't be interrupted, so whoever asks for the same name shares one."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], Future[Sequence[Found]]] = {}
        self._lock = threading.Lock()

    def ask(self, host: str, port: int) -> Future[Sequence[Found]]:
        """Ask for the addresses of a host: they come, or OSError does (socket.gaierror where it has none)."""
        with self._lock:
            asked = self._asked.get((host, port))
            if asked is None:
                asked = self._asked[host, port] = Future()
                threading.Thread(target=self._look_up, args=(host, port), daemon=True).start()
        return asked

    def _look_up(self, host: str, port: int) -> None:
        found: Sequence[Found] = ()
        failure: OSError | None = None
        try:
            found = resolved(host, port)
        except OSError as error:
            failure = error
        with self._lock:
            asked = self._asked.pop((host, port))
        if failure is None:
            asked.set_result(found)
        else:
            asked.set_exception(failure.with_traceback(None))


def resolved(host: str, port: int) -> Sequence[Found]:
    """Ask the system for the addresses of a host, however long that takes. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror("no name that can be asked for") from None
    if not found:
        raise socket.gaierror("no address")
    return found
