"""Holds back those who wait, and lets so many of them go on: no CPU is spent on waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """A semaphore that can be waited for beside a socket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._waiting: set[int] = set()

    def release(self, count: int = 1) -> None:
        """Let so many go on, of those who wait or who will."""
        with self._lock:
            self._permits += count
            for descriptor in self._waiting:
                os.eventfd_write(descriptor, 1)

    def reset(self) -> None:
        """Take back what was not used."""
        with self._lock:
            self._permits = 0

    @contextmanager
    def waiting(self) -> Iterator[int]:
        """Give a descriptor that is readable after a release."""
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        with self._lock:
            self._waiting.add(descriptor)
        try:
            yield descriptor
        finally:
            with self._lock:
                self._waiting.remove(descriptor)
            os.close(descriptor)

    def may_pass(self, descriptor: int) -> bool:
        """Return whether one who waits may go on; if not, the descriptor is readable after the next release only."""
        with suppress(BlockingIOError):
            os.eventfd_read(descriptor)
        with self._lock:
            self._permits -= (passes := self._permits > 0)
        return passes
