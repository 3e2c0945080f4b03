"""A KeyStore in a PostgreSQL database, for all replicas. Changes are made one after the other, under a lock of the row
that holds their number."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.keys.key_record import AuditEntry, KeyBook, changes_between
from argoproxy.protocol.keys.key_token import PEPPER_BYTES, derive_bytes
from argoproxy.stores.keys.key_rows import (
    AUDIT_COLUMNS,
    KEY_COLUMNS,
    MOST_ENTRIES,
    SECRET_COLUMNS,
    TEAM_COLUMNS,
    audit_row,
    find_changes,
    key_row,
    make_book,
    read_audit,
    secret_rows,
    team_row,
)
from argoproxy.stores.keys.key_store import Edit, ResultT
from argoproxy.stores.postgres.key_publisher import KeyPublisher, SharedKeys
from argoproxy.stores.postgres.postgres_schema import Cursor, Transactions

_OTHER_PEPPER = "The keys can't be read or changed now: key_pepper is not the one that the database was made with."
_READ_BOOK = (
    f"SELECT {', '.join(KEY_COLUMNS)} FROM argoproxy_keys",  # noqa: S608 names of columns
    f"SELECT {', '.join(TEAM_COLUMNS)} FROM argoproxy_teams",  # noqa: S608
    f"SELECT {', '.join(SECRET_COLUMNS)} FROM argoproxy_secrets ORDER BY created",  # noqa: S608
)


def _insert(table: str, columns: Sequence[str], rest: str = "") -> str:
    marks = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO argoproxy_{table} ({', '.join(columns)}) VALUES ({marks}) {rest}"  # noqa: S608 names of columns


def _overwrite(column: str, columns: Sequence[str]) -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in (column, "created"))
    return f"ON CONFLICT ({column}) DO UPDATE SET {changed}"


_WRITE_KEY = _insert("keys", KEY_COLUMNS, _overwrite("id", KEY_COLUMNS))
_WRITE_TEAM = _insert("teams", TEAM_COLUMNS, _overwrite("name", TEAM_COLUMNS))
_WRITE_SECRET = _insert("secrets", SECRET_COLUMNS)
_WRITE_AUDIT = _insert("audit", AUDIT_COLUMNS)
_HISTORY = f"SELECT {', '.join(AUDIT_COLUMNS)} FROM argoproxy_audit WHERE key_id = %s ORDER BY number DESC LIMIT %s"  # noqa: S608


class PostgresKeys:
    """The keys of all replicas; `publisher` gives them to the workers of this host, None where none run."""

    def __init__(
        self,
        database: Transactions,
        pepper: str,
        publisher: KeyPublisher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`pepper` is that of the settings (hexadecimal); "" for one that the database keeps."""
        self._database, self._pepper, self._publisher, self._clock = database, pepper, publisher, clock

    def create(self) -> None:
        """Prepare the database, and publish its keys on this host. Raises StateUnavailable."""
        self._database.write(self._lock)
        self._publish()

    def read(self) -> KeyBook:
        return self._database.read(_read_book)

    def read_shared(self) -> SharedKeys:
        """Return the keys with what changes with each of them, and the pepper. Raises StateUnavailable."""

        def read_all(cursor: Cursor) -> SharedKeys | None:
            cursor.execute("SELECT generation, stamp::text, pepper, pepper_check FROM argoproxy_state")
            row = cursor.fetchone()
            if row is None:
                return None
            return SharedKeys(row[0], row[1], self._check(*row[2:]), _read_book(cursor))

        found = self._database.read(read_all)
        if found is None:  # the database is not prepared yet
            self._database.write(self._lock)
            found = self._database.read(read_all)
        if found is None:
            raise StateUnavailable("The keys can't be read or changed now: their database was emptied.")
        return found

    def read_stamp(self) -> str:
        """Return what changes with each change of a key; "" before the first. Raises StateUnavailable."""

        def read_text(cursor: Cursor) -> str:
            cursor.execute("SELECT stamp::text FROM argoproxy_state")
            row = cursor.fetchone()
            return row[0] if row else ""

        return self._database.read(read_text)

    def update(self, actor: str, edit: Edit[ResultT]) -> ResultT:
        def change(cursor: Cursor) -> ResultT:
            pepper = self._lock(cursor)
            before = _read_book(cursor)
            after, result = edit(before, pepper)
            entries = changes_between(before, after, actor, self._clock())
            if entries:
                _write_changes(cursor, before, after, entries)
            return result

        result = self._database.write(change)
        self._publish()
        return result

    def history(self, key_id: str) -> Sequence[AuditEntry]:
        def read_entries(cursor: Cursor) -> Sequence[AuditEntry]:
            cursor.execute(_HISTORY, (key_id, MOST_ENTRIES))
            return list(map(read_audit, cursor.fetchall()))

        return self._database.read(read_entries)

    def _publish(self) -> None:
        """Give the keys to the workers of this host at once. If that fails, their next look at the database does it."""
        if self._publisher is not None:
            self._publisher.try_publish(self.read_shared)

    def _lock(self, cursor: Cursor) -> bytes:
        """Keep others from changing keys until the end of the transaction, and return the pepper."""
        own = "" if self._pepper else secrets.token_hex(PEPPER_BYTES)
        check = derive_bytes((self._pepper or own).encode(), "check").hex()
        cursor.execute(
            "INSERT INTO argoproxy_state (generation, stamp, pepper, pepper_check)"
            " VALUES (0, gen_random_uuid(), %s, %s) ON CONFLICT (id) DO NOTHING",
            (own, check),
        )
        cursor.execute("SELECT pepper, pepper_check FROM argoproxy_state FOR UPDATE")
        return self._check(*cursor.fetchone())

    def _check(self, kept: str, check: str) -> bytes:
        """Return the pepper: the text of it, as files hold it. Raises StateUnavailable if it is another one."""
        text = self._pepper or kept
        if not text or derive_bytes(text.encode(), "check").hex() != check:
            raise StateUnavailable(_OTHER_PEPPER)
        return text.encode()


def _write_changes(cursor: Cursor, before: KeyBook, after: KeyBook, entries: Sequence[AuditEntry]) -> None:
    cursor.executemany(_WRITE_TEAM, map(team_row, find_changes(before.teams, after.teams)))
    keys = list(find_changes(before.keys, after.keys))
    cursor.executemany(_WRITE_KEY, map(key_row, keys))
    cursor.execute("DELETE FROM argoproxy_secrets WHERE key_id = ANY(%s)", ([key.id for key in keys],))
    cursor.executemany(_WRITE_SECRET, secret_rows(keys))
    cursor.executemany(_WRITE_AUDIT, map(audit_row, entries))
    cursor.execute("UPDATE argoproxy_state SET generation = generation + 1, stamp = gen_random_uuid()")


def _read_book(cursor: Cursor) -> KeyBook:
    found = []
    for statement in _READ_BOOK:
        cursor.execute(statement)
        found.append(cursor.fetchall())
    return make_book(*found)
