"""Work that one worker of a host does for all of them, in a thread: which one follows from the lock of a file, which
the kernel gives to another worker when that one ends. When it succeeded last is the time of another file."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from argoproxy.stores.sqlite_file import errors_as_unavailable, make_folder, open_private
from argoproxy.telemetry.rotating_file import PRIVATE

logger = logging.getLogger("argoproxy")

#: How often another worker tries to take over.
TAKE_OVER_S = 0.5
#: How long a worker that ends waits for a step.
STOP_S = 1.0
_PAUSE_S = 0.02


class LastSuccess:
    """When something succeeded last on this host, for all its workers: the time of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self) -> None:
        """Note that it succeeded now. Raises StateUnavailable."""
        with errors_as_unavailable():
            with open_private(self._path):
                pass
            os.utime(self._path)

    @property
    def age_s(self) -> float | None:
        """Seconds since then, None if it never did."""
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except OSError:
            return None


class SharedWork(Protocol):
    """What is done again and again."""

    def step(self) -> float:
        """Do it once, and return after how many seconds to do it again."""

    def finish(self) -> None:
        """Do what is left to do as the worker ends, in a short time."""

    def close(self) -> None:
        """Close what is open."""


class HostTask:
    """Does a task in one worker of the host. Create it in the worker."""

    def __init__(self, lock: Path, task: SharedWork) -> None:
        self._path, self._task = lock, task
        self._descriptor = -1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=lock.stem, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and let another worker take over. A step that waits for the server ends by itself: it has
        time limits."""
        self._stopped.set()
        self._thread.join(STOP_S)
        if not self._thread.is_alive():
            self._release()

    def finish(self) -> None:
        """Stop as the worker ends, and finish the task if it is this worker's, or that of one that has ended."""
        self._stopped.set()
        self._thread.join(STOP_S)
        if not self._thread.is_alive():
            until = time.monotonic() + TAKE_OVER_S
            while not self._is_ours() and time.monotonic() < until:
                time.sleep(_PAUSE_S)
            if self._is_ours():
                self._task.finish()
            self._release()

    def _release(self) -> None:
        self._task.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            pause_s = TAKE_OVER_S
            try:
                if self._is_ours():
                    pause_s = self._task.step()
            except Exception:  # whatever it is, without this thread it would never be done again
                logger.exception("What this host shares with others could not be brought up to date; this is repeated")

    def _is_ours(self) -> bool:
        """Return whether this worker has the lock; take it if no other one has it."""
        if self._descriptor >= 0:
            return True
        with suppress(OSError):
            make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
            else:
                self._descriptor = descriptor
        return self._descriptor >= 0
