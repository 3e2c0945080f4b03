"""The lock under which counters in a file are changed: other threads wait, and other processes that share the file."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import threading
import time

from argoproxy.telemetry.rotating_file import lock_file

#: Other processes keep the lock for some 20 us.
_QUICK_TRIES = 20
#: Not fcntl.flock, at which another thread of this process may run: it would wait for this one, with a switch of
#: threads for each request.
_flock = ctypes.PyDLL(None).flock
_AT_ONCE, _UNLOCK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


class CounterLock:
    """The kernel's lock on an open file, which ends with its holder, and a lock for the threads of this process."""

    #: Whether other processes are kept out too.
    _is_locked = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._threads = descriptor, threading.Lock()

    def acquire_thread(self, max_wait_s: float) -> None:
        """Keep other threads of this process out. Raises TimeoutError, also if the garbage collector calls from within
        a change."""
        if not self._threads.acquire(timeout=max_wait_s):
            raise _late()

    def acquire(self, max_wait_s: float) -> None:
        """Keep other threads and processes out. Raises TimeoutError, an OSError."""
        if not self._threads.acquire(timeout=max_wait_s):
            raise _late()
        try:
            for _ in range(_QUICK_TRIES):
                if _flock(self._descriptor, _AT_ONCE) == 0:
                    break
            else:
                lock_file(self._descriptor, time.monotonic() + max_wait_s)
        except BaseException:
            self._threads.release()
            raise
        self._is_locked = True

    def release(self) -> None:
        """Let others in."""
        if self._is_locked:
            self._is_locked = False
            _flock(self._descriptor, _UNLOCK)
        self._threads.release()


def _late() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "another thread's change does not end")
