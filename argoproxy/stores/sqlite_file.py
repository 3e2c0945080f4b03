"""A SQLite file that the processes of one host share: opened for one transaction at a time, under a lock of its own.

Why a lock beside SQLite's own:

- Checkpoints run inside it too. In versions before 3.51.3, 3.50.7 and 3.44.6 a checkpoint that meets the commit of
  another connection may corrupt the file (https://sqlite.org/wal.html#walresetbug).
- SQLite's busy handler sleeps in C, which would stop all greenlets of a gevent worker. The lock is asked for without
  waiting, with short sleeps of Python's between.

No connection is kept: one that is carried over a fork corrupts the file, and one to a deleted file writes to nowhere.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from argoproxy.errors import StateUnavailable
from argoproxy.telemetry.rotating_file import PRIVATE, lock_file

#: How long a change waits for those of other processes, each of which takes milliseconds.
MAX_WAIT_S = 2.0
_PAUSE_S = 0.002
_LOCK_SUFFIX = ".lock"
#: Only its owner may look into the folder.
_FOLDER_MODE = 0o700

#: Why a file can't be used, by the beginning of SQLite's name of the error (https://sqlite.org/rescode.html).
REASONS = {
    "SQLITE_BUSY": "another process keeps them locked; try again",
    "SQLITE_LOCKED": "another process keeps them locked; try again",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk is full, or reports an error",
    "SQLITE_READONLY": "they are read-only",
    "SQLITE_CANTOPEN": "their file can't be opened",
    "SQLITE_CORRUPT": "their database is damaged; restore it from a backup",
    "SQLITE_NOTADB": "their database is damaged; restore it from a backup",
}
_SYSTEM_REASONS = {
    errno.ETIMEDOUT: REASONS["SQLITE_BUSY"],
    errno.ENOSPC: REASONS["SQLITE_FULL"],
    errno.EDQUOT: REASONS["SQLITE_FULL"],
    errno.EROFS: REASONS["SQLITE_READONLY"],
    errno.EACCES: "this process may not use their files",
    errno.EPERM: "this process may not use their files",
    errno.ENOENT: "their files are missing",
}


class NewerSchemaError(sqlite3.DatabaseError):
    """A newer version of argoproxy has written the file."""


class SqliteFile:
    """A database whose schema is what `migrations` have made of it, each a list of statements."""

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]], max_wait_s: float = MAX_WAIT_S) -> None:
        self.path = path
        self._migrations = migrations
        self._max_wait_s = max_wait_s

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes and threads away. Raises StateUnavailable, for any error inside as well."""
        name = self.path.with_name(self.path.name + _LOCK_SUFFIX)
        with errors_as_unavailable(), open_private(name) as lock:
            lock_file(lock, time.monotonic() + self._max_wait_s)
            yield

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the database, and commit what is done with it unless an error is raised. Call it inside `exclusive`.
        Raises sqlite3.Error, OSError."""
        until = time.monotonic() + self._max_wait_s
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=0)) as database:
            execute_until(database, "PRAGMA journal_mode=WAL", until)
            # Not NORMAL, which may lose the last commits at a power cut: a revoked key would be valid again.
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA foreign_keys=ON")
            execute_until(database, "BEGIN IMMEDIATE", until)
            try:
                migrate(database, self._migrations)
                yield database
            except BaseException:
                if database.in_transaction:  # a full disk may have ended it
                    database.execute("ROLLBACK")
                raise
            execute_until(database, "COMMIT", until)


def migrate(database: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Apply the migrations that the file has not seen. They are part of the transaction: a process that is killed
    leaves the former schema. Raises sqlite3.Error."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise NewerSchemaError
    for statements in migrations[version:]:
        for statement in statements:
            database.execute(statement)
    if version < len(migrations):
        database.execute(f"PRAGMA user_version={len(migrations)}")


@contextmanager
def errors_as_unavailable() -> Iterator[None]:
    """Raise StateUnavailable in place of an error of the system or the database."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise unavailable(reason_of(error)) from error


def unavailable(reason: str) -> StateUnavailable:
    """Return the error for state that can't be used."""
    return StateUnavailable(f"The keys can't be read or changed now: {reason}.")


@contextmanager
def open_private(path: Path) -> Iterator[int]:
    """Open a file that only its owner may read, creating it if missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    try:
        give_to_owner_of_folder(descriptor, path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder, unless it is there. Raises OSError."""
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """Make a file that root has created readable for the user as which the proxy runs, who owns the folder."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def execute_until(database: sqlite3.Connection, statement: str, until: float) -> None:
    """Execute a statement; wait while a program that knows nothing of our lock, a backup for instance, has the
    database."""
    while True:
        try:
            database.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if not _name_of(error).startswith("SQLITE_BUSY") or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_S)


def reason_of(error: sqlite3.Error | OSError) -> str:
    """Return why state can't be used, in words for operators."""
    if isinstance(error, OSError):
        return _SYSTEM_REASONS.get(error.errno or 0, "the system reports an error")
    if isinstance(error, NewerSchemaError):
        return "a newer version of argoproxy has written their database"
    name = _name_of(error)
    return next((reason for start, reason in REASONS.items() if name.startswith(start)), "their database fails")


def _name_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "")
