"""Answers in a SQLite file that all workers of a host share.

The file holds nothing that can't be asked for again. So a damaged one is deleted, one of another version too, and no
fault of it ever harms a request: the file is left alone for a while, and every request goes upstream.

Reading takes no lock: in WAL mode readers wait for no writer. Each write transaction runs under a lock of its own, for
the reasons given in `stores/sqlite_file.py`. The connection is kept, because opening one costs ten times what a
question does; it is opened in the worker, never before a fork, and anew when the file is not the same any more.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from argoproxy.protocol.cache.kept_answer import KeptAnswer, decompress_answer
from argoproxy.stores.answers.answer_store import StoredAnswer
from argoproxy.stores.sqlite_file import give_to_owner_of_folder, make_folder, open_private
from argoproxy.telemetry.rotating_file import PRIVATE, lock_file

logger = logging.getLogger("argoproxy")

#: The name of the file in the folder of what survives a restart.
FILE_NAME = "cache.sqlite3"
#: How long a write waits for those of other workers. Then the answer is not kept.
MAX_WAIT_S = 0.2
#: How long a file that can't be used is left alone.
PAUSE_S = 5.0
#: A single answer takes no more than this part of the file.
LARGEST_PART = 4
#: How far the clock may have been put back since an answer was stored.
CLOCK_TOLERANCE_S = 60.0
#: Answers that are deleted at once, and how often a write does so at most, so that none takes long.
BATCH, MOST_BATCHES = 20, 50

_VERSION = 1
_SCHEMA = """
    CREATE TABLE answers (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, form TEXT NOT NULL, text BLOB NOT NULL,
        stored_at REAL NOT NULL, ends_at REAL NOT NULL);
    CREATE INDEX answers_by_end ON answers (ends_at);
"""
_SELECT = "SELECT form, text, stored_at FROM answers WHERE key = ?"
_INSERT = "INSERT OR REPLACE INTO answers (key, form, text, stored_at, ends_at) VALUES (?, ?, ?, ?, ?)"
_DELETE_ENDED = "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE ends_at < ? LIMIT ?)"
_DELETE_OLDEST = "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY id LIMIT ?)"
_DAMAGES = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
#: Beside a database while it is used (https://sqlite.org/walformat.html).
_SUFFIXES = ("-wal", "-shm", "")


class SqliteAnswers:
    """An AnswerStore whose file takes about `max_bytes` at most."""

    def __init__(
        self, path: Path, max_bytes: int, clock: Callable[[], float] = time.time, pause_s: float = PAUSE_S
    ) -> None:
        """After an error the file is left alone for `pause_s` seconds."""
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._pause_s = pause_s
        #: Held while the connection is used: never while another process is waited for.
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._paused_until = self._no_write_until = 0.0
        self._is_up = True

    def read(self, key: bytes) -> StoredAnswer | None:
        row = None
        if self._is_left_alone():
            return None
        with self._errors_as_trouble():
            if not self._is_open():
                with self._exclusive():
                    self._open()
            with self._lock:
                if self._database is not None:  # another thread may be opening it anew
                    row = self._database.execute(_SELECT, (key,)).fetchone()
        if row is None:
            return None
        form, text, stored_at = row
        age_s = self._clock() - stored_at
        with suppress(ValueError):
            return StoredAnswer(decompress_answer(form, text), max(0.0, age_s)) if age_s > -CLOCK_TOLERANCE_S else None
        return None

    def write(self, key: bytes, answer: KeptAnswer, ttl_s: float) -> None:
        if self._is_left_alone() or time.monotonic() < self._no_write_until:
            return
        text = answer.compress()
        if LARGEST_PART * len(text) > self._max_bytes:
            return
        with self._errors_as_trouble(), self._exclusive():
            self._open()
            with self._lock, _transaction(self._database) as database:
                now = self._clock()
                database.execute(_DELETE_ENDED, (now, BATCH))
                database.execute(_INSERT, (key, answer.form, text, now, now + ttl_s))
                for _ in range(MOST_BATCHES):
                    if _used_bytes(database) <= self._max_bytes:
                        break
                    database.execute(_DELETE_OLDEST, (BATCH,))

    def close(self) -> None:
        with suppress(OSError, sqlite3.Error), self._exclusive():  # the last connection to close writes to the file
            self._close()

    def _is_left_alone(self) -> bool:
        return time.monotonic() < self._paused_until

    @contextmanager
    def _errors_as_trouble(self) -> Iterator[None]:
        """Leave the file alone after an error."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self._pause(error)
        else:
            if not self._is_up and time.monotonic() >= self._no_write_until:
                self._is_up = True
                logger.warning("code=cache_available: answers are kept again")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other writers away, in this process and in others. Raises OSError."""
        make_folder(self._path.parent)
        with open_private(self._path.with_name(f"{self._path.name}.lock")) as lock:
            lock_file(lock, time.monotonic() + MAX_WAIT_S)
            yield

    def _is_open(self) -> bool:
        """Return whether there is a connection, to the file that has the name now."""
        if self._database is None:
            return False
        try:
            return os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        """Open the file, and create it if it is missing; call it inside `_exclusive`. Raises OSError, sqlite3.Error."""
        if self._is_open():
            return
        self._close()
        with self._lock:
            _create_private(self._path)
            self._inode = os.stat(self._path).st_ino
            database = sqlite3.connect(self._path, isolation_level=None, timeout=0, check_same_thread=False)
            try:
                _prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database

    def _close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _pause(self, error: Exception) -> None:
        """Leave the file alone for a while, and delete it if it is damaged."""
        reason = getattr(error, "sqlite_errorname", "") or type(error).__name__
        until = time.monotonic() + self._pause_s
        if self._is_up:
            self._is_up = False
            logger.warning("code=cache_unavailable reason=%s: answers are not kept for now: %s", reason, error)
        if isinstance(error, TimeoutError) and self._database is not None:
            self._no_write_until = until  # other workers are busy with it, which does not keep anyone from reading
            return
        self._paused_until = until
        with suppress(OSError, sqlite3.Error), self._exclusive():
            self._close()
            if reason.startswith(_DAMAGES) or isinstance(error, _OtherVersion):
                self._delete()

    def _delete(self) -> None:
        """Delete the file, unless another worker has done so: the next request begins a new one. Raises OSError."""
        self._paused_until = 0.0
        if os.stat(self._path).st_ino == self._inode:
            for suffix in _SUFFIXES:
                self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)


class _OtherVersion(sqlite3.DatabaseError):
    """Another version of argoproxy has made the file."""


def _create_private(path: Path) -> None:
    """Create a file that only its owner may read, unless it is there. Raises OSError.

    One that is there is not opened: closing a descriptor of it would end the locks of all connections of this process
    (https://sqlite.org/howtocorrupt.html#posix_advisory_locks_canceled_by_a_separate_thread_doing_close_)."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        try:
            give_to_owner_of_folder(descriptor, path.parent)
        finally:
            os.close(descriptor)


@contextmanager
def _transaction(database: sqlite3.Connection | None) -> Iterator[sqlite3.Connection]:
    """Commit what is done with a database, unless an error is raised. Raises sqlite3.Error."""
    if database is None:
        raise sqlite3.ProgrammingError("the file is not open")
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # a full disk may have ended it
            database.execute("ROLLBACK")
        raise


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    # A power cut may lose the last answers, which is no harm.
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA journal_size_limit=4194304")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise _OtherVersion("it is of another version")


def _used_bytes(database: sqlite3.Connection) -> int:
    """Return what the answers take of the file, without pages that are free."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size
