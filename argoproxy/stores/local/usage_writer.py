"""A thread of a worker that writes down what has happened, soon after it has."""

from __future__ import annotations

import threading
from collections.abc import Callable

from argoproxy.errors import StateUnavailable

#: How long what has happened waits for more, to be written together.
GATHER_S = 0.1
#: How often a worker looks what other ones have left.
LOOK_S = 5.0
_STOP_S = 5.0


class UsageWriter:
    """Calls `write` soon after it was woken, and `look` before that and every few seconds; again after a pause if they
    raise StateUnavailable. The thread begins when it is woken first, which is after the fork."""

    def __init__(self, write: Callable[[], None], look: Callable[[], None], retry_s: float) -> None:
        self._write, self._look, self._retry_s = write, look, retry_s
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._has_work, self._is_stopped = threading.Event(), threading.Event()
        #: Whether it will write what has happened before this was set.
        self._is_woken = False

    def wake(self) -> None:
        """Have it written what has happened until now."""
        if not self._is_woken:
            self._is_woken = True
            self._has_work.set()
            if self._thread is None:
                self._start()

    def stop(self) -> None:
        """End the thread; a later call starts another one."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._is_stopped.set()
            self._has_work.set()
            thread.join(_STOP_S)
            self._is_stopped.clear()
        self._has_work.clear()
        self._is_woken = False

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="usage-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._has_work.wait(LOOK_S)
            if self._is_stopped.wait(GATHER_S):
                return
            has_work = self._has_work.is_set()
            if has_work:  # else it is not cleared: it may be set at this moment
                self._has_work.clear()
                self._is_woken = False  # in this order: who saw it true has nothing that is not written now
            try:
                self._look()
                if has_work:
                    self._write()
            except StateUnavailable:
                self._is_woken = True
                self._has_work.set()
                if self._is_stopped.wait(self._retry_s):
                    return
