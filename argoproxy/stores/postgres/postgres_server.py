"""A PostgreSQL server, asked within a limited time, a transaction at a time.

No pool: a host has one connection for its keys and one for the ledger, whatever the number of its workers, and a change
of a key opens one for itself. Settings are those of a transaction, and no statement is prepared: PgBouncer may stand
between.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from argoproxy.config.shared_stores import DatabaseSettings
from argoproxy.errors import StateUnavailable
from argoproxy.stores.postgres.postgres_schema import Cursor, NewerTablesError, RefusedRows, migrate

ResultT = TypeVar("ResultT")
Work = Callable[[Cursor], ResultT]

#: How often a transaction is tried that another one got in the way of, and the longest pause before the next time.
_ATTEMPTS = 4
_PAUSE_S = 0.1
#: What `connect` and `wait` raise.
_TIME_OUTS = (errors.ConnectionTimeout, errors._WaitTimeout)  # noqa: SLF001
_IN_THE_WAY = (errors.DeadlockDetected, errors.SerializationFailure)
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: READ COMMITTED: what is read after a row was locked is what those have left who had the lock before.
_WRITE = "BEGIN"

_UNREACHABLE = "the PostgreSQL server can't be reached"
_SLOW = "the PostgreSQL server does not answer in time"
_PASSWORD = "the PostgreSQL server refuses the user or the password of database_url"  # noqa: S105 no password
_CONNECTIONS = "the PostgreSQL server has too many connections"
_NO_DATABASE = "the PostgreSQL server has no such database"
_STARTING = "the PostgreSQL server is starting or stopping"
#: Why it can't be used, by the beginning of the SQLSTATE of the error: the first one that fits
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_REASONS: Sequence[tuple[str, str]] = (
    ("28", _PASSWORD),
    ("3D", _NO_DATABASE),
    ("25006", "the PostgreSQL server is read-only"),
    ("40", "others change the same rows of the PostgreSQL server all the time"),
    ("42501", "the PostgreSQL server does not permit it to the user of database_url"),
    ("53100", "the disk of the PostgreSQL server is full"),
    ("53300", _CONNECTIONS),
    ("53", "the PostgreSQL server has not enough memory or other resources"),
    ("55P03", "another program keeps rows of the PostgreSQL server locked"),
    ("57014", _SLOW),
    ("57P", _STARTING),
    ("25P03", _SLOW),
    ("08", _UNREACHABLE),
)
#: The same where no connection was made: then libpq tells but a text.
_WORDS = (
    ("password", _PASSWORD),
    ("no pg_hba.conf entry", _PASSWORD),
    ("too many clients", _CONNECTIONS),
    ("connection slots are reserved", _CONNECTIONS),
    ("starting up", _STARTING),
    ("shutting down", _STARTING),
    ("does not exist", _NO_DATABASE),
)


class _BoundedConnection(psycopg.Connection[Any]):  # type: ignore[misc]  # psycopg need not be installed
    """A connection that waits for nothing beyond a moment: a server that is frozen would never answer."""

    until = float("inf")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        left_s = max(0.0, self.until - time.monotonic())
        return super().wait(gen, interval, left_s if timeout is None else min(timeout, left_s))


class PostgresSession:
    """A connection that is opened when it is needed, and again after an error: use it after the fork only. Threads take
    turns."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: _BoundedConnection | None = None

    def read(self, work: Work[ResultT]) -> ResultT:
        """Return what work finds in one state of the database. Raises StateUnavailable."""
        return self._run(work, _READ)

    def write(self, work: Work[ResultT]) -> ResultT:
        """Do work in a transaction, which is committed unless an error is raised; again, if others got in its way.
        Raises StateUnavailable. If the connection breaks at the end, it is not known whether it was committed."""
        return self._run(work, _WRITE)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, work: Work[ResultT], begin: str) -> ResultT:
        if not self._lock.acquire(timeout=self._settings.timeout_s):
            raise unavailable(_SLOW)
        try:
            with _errors_as_unavailable():
                for _ in range(_ATTEMPTS - 1):
                    try:
                        return self._transact(work, begin)
                    except _IN_THE_WAY:
                        time.sleep(random.uniform(0.0, _PAUSE_S))  # noqa: S311 no secret
                return self._transact(work, begin)
        finally:
            self._lock.release()

    def _transact(self, work: Work[ResultT], begin: str) -> ResultT:
        until = time.monotonic() + self._settings.timeout_s
        connection = self._connection or self._open()
        connection.until = until
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"{begin}; {self._bounds()}")
                result = work(cursor)
                cursor.execute("COMMIT")
        except BaseException:
            self.close()  # what is not committed is rolled back
            raise
        return result

    def _open(self) -> _BoundedConnection:
        """Open a connection, and bring the tables to the present schema."""
        connection: _BoundedConnection = _BoundedConnection.connect(
            self._settings.url.text,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(self._settings.timeout_s)),
            application_name="argoproxy",
        )
        self._connection = connection
        # Replicas that start at the same moment wait for one of them.
        connection.until = time.monotonic() + 2 * self._settings.timeout_s
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"BEGIN; {self._bounds()}")
                migrate(cursor)
                cursor.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        return connection

    def _bounds(self) -> str:
        """Return the statements that bound a transaction, also where this process is gone before its end."""
        limit_ms = max(1, round(self._settings.timeout_s * 1000))
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        return "; ".join(f"SET LOCAL {name} = {limit_ms}" for name in names)


class PostgresServer:
    """The same, with a connection for each transaction: it may be carried over a fork."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings

    def read(self, work: Work[ResultT]) -> ResultT:
        """See PostgresSession."""
        session = PostgresSession(self._settings)
        try:
            return session.read(work)
        finally:
            session.close()

    def write(self, work: Work[ResultT]) -> ResultT:
        """See PostgresSession."""
        session = PostgresSession(self._settings)
        try:
            return session.write(work)
        finally:
            session.close()


def reason_of(error: Exception) -> str:
    """Return why the server can't be used, in words for operators: neither its address nor its own text."""
    if isinstance(error, NewerTablesError):
        return "a newer version of argoproxy has changed the tables"
    state = getattr(error, "sqlstate", None) or ""
    found = next((reason for begin, reason in _REASONS if state.startswith(begin)), None)
    if found or state:
        return found or "the PostgreSQL server reports an error"
    if isinstance(error, _TIME_OUTS):
        return _SLOW
    return next((reason for words, reason in _WORDS if words in str(error)), _UNREACHABLE)


def unavailable(reason: str) -> StateUnavailable:
    """Return the error for a database that can't be used."""
    return StateUnavailable(f"The database of keys and usage can't be used now: {reason}.")


@contextmanager
def _errors_as_unavailable() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError:
        raise RefusedRows("The database of keys and usage refuses a value.") from None
    except (psycopg.Error, NewerTablesError, OSError) as error:
        raise unavailable(reason_of(error)) from None  # its text may name the server and its user
