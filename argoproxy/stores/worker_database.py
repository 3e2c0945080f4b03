"""A SQLite file that is changed all the time: a worker keeps one connection to it, and one to its lock.

The lock is that of SqliteFile, with the same reasons. Both are opened at the first use, which is after the fork, and
again when the file was deleted or replaced: a connection to a deleted file writes to nowhere.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from argoproxy.errors import StateUnavailable
from argoproxy.stores.sqlite_file import execute_until, give_to_owner_of_folder, migrate, reason_of
from argoproxy.telemetry.rotating_file import PRIVATE, lock_file

#: How long a request waits for the writes of others. Each takes less than a millisecond; but where there is more work
#: than processors, the one that has the lock may have to wait for a processor.
MAX_WAIT_S = 1.0
#: How long the next ones wait after one did not get the lock, until one does: else each would hold its thread longer.
_SHORT_WAIT_S = 0.2
#: How many threads have their work done in one transaction: other workers wait for its end.
_MOST_TOGETHER = 32
#: In a checkpoint the disk is waited for: one in about a thousand requests, not in a hundred.
_CHECKPOINT_PAGES = 8000
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MAGIC = b"SQLite format 3\0"

ResultT = TypeVar("ResultT")
Work = Callable[[sqlite3.Connection], ResultT]
Reporter = Callable[[str | None], None]

logger = logging.getLogger("argoproxy")


def log_trouble(reason: str | None) -> None:
    """Log that the counters can't be used any more, or that they can again."""
    if reason is None:
        logger.warning("code=state_available: limits can be checked again")
    else:
        logger.error("code=state_unavailable: limits can't be checked now: %s", reason)


class _Job:
    """The work of one thread, and what came of it."""

    result: Any = None
    error: BaseException | None = None
    is_done = False

    def __init__(self, work: Work[Any]) -> None:
        self.work = work


class WorkerDatabase:
    """A database whose schema is what `migrations` have made of it. Use one for a file in a process, not more: to close
    a descriptor of a file drops all locks that the process has on it."""

    def __init__(
        self, path: Path, migrations: Sequence[Sequence[str]], report: Reporter, max_wait_s: float = MAX_WAIT_S
    ) -> None:
        """`report` is called with the reason when the file can't be used any more, and with None when it can again."""
        self.path = path
        self._migrations, self._report = migrations, report
        self._thread_lock, self._report_lock = threading.Lock(), threading.Lock()
        self._max_wait_s = self._wait_s = max_wait_s
        self._opened: _Opened | None = None
        self._trouble: str | None = None
        self._jobs: deque[_Job] = deque()

    def write(self, work: Work[ResultT]) -> ResultT:
        """Do work in a transaction, which is committed unless an error is raised. Raises StateUnavailable, for any
        error of the system or the database inside as well.

        Threads that come while another one writes have their work done by the next of them, in one transaction: each
        statement lets another thread run, and so costs more than its own work.
        """
        job = _Job(work)
        self._jobs.append(job)
        if not self._thread_lock.acquire(timeout=self._wait_s):
            if self._withdraw(job):
                raise self.fail(reason_of(TimeoutError(errno.ETIMEDOUT, "another thread's write does not end")))
            self._thread_lock.acquire()  # it is being done, which takes a limited time
        try:
            while not job.is_done:
                self._do_jobs(self._take_jobs())
        finally:
            self._thread_lock.release()
        if job.error is not None:
            raise job.error
        return cast("ResultT", job.result)

    def close(self) -> None:
        """Close the file."""
        with self._thread_lock:
            self._close()

    @property
    def is_up(self) -> bool:
        """Whether the last use succeeded."""
        return self._trouble is None

    def _withdraw(self, job: _Job) -> bool:
        try:
            self._jobs.remove(job)
        except ValueError:
            return False
        return True

    def _take_jobs(self) -> Sequence[_Job]:
        taken = list[_Job]()
        with suppress(IndexError):
            while len(taken) < _MOST_TOGETHER:
                taken.append(self._jobs.popleft())
        return taken

    def _do_jobs(self, jobs: Sequence[_Job]) -> None:
        """Do the work of several threads; an error is that of all."""
        try:
            self._write(jobs)
        except (sqlite3.Error, OSError) as error:
            for job in jobs:
                job.error = self.fail(reason_of(error))
        except BaseException as error:  # noqa: BLE001 each thread raises it
            for job in jobs:
                job.error = error
        else:
            if self._trouble is not None:
                self._succeed()
        for job in jobs:
            job.is_done = True

    def _write(self, jobs: Sequence[_Job]) -> None:
        until = time.monotonic() + self._wait_s
        opened = self._lock(until)
        try:
            execute_until(opened.database, "BEGIN IMMEDIATE", until)
            if not opened.is_migrated:
                migrate(opened.database, self._migrations)
            for job in jobs:
                job.result = job.work(opened.database)
            execute_until(opened.database, "COMMIT", until)
        except BaseException:
            self._close()  # what is not committed is rolled back
            raise
        opened.is_migrated = True
        opened.unlock()

    def _lock(self, until: float) -> _Opened:
        """Lock the file that the path leads to; open it if it is not open."""
        opened = self._opened
        if opened is not None:
            lock_file(opened.lock, until)
            try:
                is_current = opened.is_current(self.path)
            except BaseException:
                # It stays open: SQLite would write to the damaged file what it has in its log.
                opened.unlock()
                raise
            if is_current:
                return opened
            self._close()
        self._opened = _open(self.path, until)
        return self._opened

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def fail(self, reason: str) -> StateUnavailable:
        """Report that the file, or what belongs to it, can't be used, and return the error for it."""
        self._wait_s = min(_SHORT_WAIT_S, self._max_wait_s)
        with self._report_lock:
            before, self._trouble = self._trouble, reason
            if before is None:
                self._report(reason)
        return StateUnavailable(f"The limits can't be checked now: {reason}.")

    def _succeed(self) -> None:
        with self._report_lock:
            before, self._trouble, self._wait_s = self._trouble, None, self._max_wait_s
            if before is not None:
                self._report(None)


def _open(path: Path, until: float) -> _Opened:
    """Open a file, creating it if missing, and lock it. Raises OSError, sqlite3.Error. The folder is not created: one
    that is gone may be on a disk that is not there, and what was spent with it."""
    with ExitStack() as stack:
        lock = _open_private(path.with_name(f"{path.name}.lock"))
        stack.callback(os.close, lock)
        lock_file(lock, until)
        file = _open_private(path)
        stack.callback(os.close, file)
        _check_beginning(file)
        opened = _Opened(lock, file, _connect(path, until))
        stack.pop_all()
    return opened


def _open_private(path: Path) -> int:
    descriptor = os.open(path, _FLAGS, PRIVATE)
    give_to_owner_of_folder(descriptor, path.parent)
    return descriptor


class _Opened:
    """A connection, the lock that it is used under, and a descriptor by which damage is noticed."""

    def __init__(self, lock: int, file: int, database: sqlite3.Connection) -> None:
        self.lock, self._file, self.database = lock, file, database
        self.is_migrated = False
        self._status = os.fstat(file)

    def is_current(self, path: Path) -> bool:
        """Return whether the path still leads to this file. Raises sqlite3.DatabaseError if another program has
        overwritten it: what SQLite has read into its memory would hide that for hours."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        if not os.path.samestat(status, self._status):
            return False
        if status.st_mtime_ns != self._status.st_mtime_ns:
            _check_beginning(self._file)
            self._status = status
        return True

    def unlock(self) -> None:
        fcntl.flock(self.lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the connection, then the descriptors: closing one of its file takes the locks of the connection."""
        with suppress(sqlite3.Error):
            self.database.close()
        os.close(self._file)
        os.close(self.lock)


def _check_beginning(file: int) -> None:
    """Raise sqlite3.DatabaseError if a file neither is empty nor begins as a database does."""
    if os.pread(file, len(_MAGIC), 0) not in (b"", _MAGIC):
        error = sqlite3.DatabaseError("the file does not begin as a database does")
        error.sqlite_errorname = "SQLITE_NOTADB"
        raise error


def _connect(path: Path, until: float) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    try:
        # Each write copies whole pages to the log; half the usual size makes a request a tenth cheaper.
        database.execute("PRAGMA page_size=2048")
        execute_until(database, "PRAGMA journal_mode=WAL", until)
        # A power cut may lose the last commits; a process that is killed loses none.
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    except BaseException:
        database.close()
        raise
    return database
