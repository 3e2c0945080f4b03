"""An event that is waited for while the client is watched."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Waker:
    """An event that a Watch can wait for; any thread may raise it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor, which is readable after `wake`."""
        return self._descriptor

    def wake(self) -> None:
        """Raise the event; nothing once it is closed."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Take the event back."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1
