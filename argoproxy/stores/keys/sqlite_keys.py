"""A KeyStore in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from argoproxy.protocol.keys.key_index import make_document
from argoproxy.protocol.keys.key_record import AuditEntry, KeyBook, changes_between
from argoproxy.protocol.keys.key_token import derive_bytes
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_rows import (
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
from argoproxy.stores.sqlite_file import (
    MAX_WAIT_S,
    SqliteFile,
    errors_as_unavailable,
    make_folder,
    open_private,
    unavailable,
)

#: Numbered by their position: one that was released never changes.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE state (generation INTEGER NOT NULL, pepper_check TEXT NOT NULL)",
        """CREATE TABLE teams (name TEXT PRIMARY KEY, models TEXT NOT NULL, metadata TEXT NOT NULL,
            limits TEXT NOT NULL, is_declared INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, expires REAL,
            is_disabled INTEGER NOT NULL, models TEXT NOT NULL, team TEXT NOT NULL, metadata TEXT NOT NULL,
            limits TEXT NOT NULL, is_declared INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE secrets (digest TEXT PRIMARY KEY, key_id TEXT NOT NULL REFERENCES keys (id),
            tail TEXT NOT NULL, created REAL NOT NULL, ends REAL, request TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX secrets_of_key ON secrets (key_id)",
        """CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL,
            action TEXT NOT NULL, key_id TEXT NOT NULL, name TEXT NOT NULL, changed TEXT NOT NULL)""",
        "CREATE INDEX audit_of_key ON audit (key_id)",
        "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows stay'); END",
        "CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows stay'); END",
    ),
)
_WRITE_KEY = """INSERT INTO keys (id, name, created, expires, is_disabled, models, team, metadata, limits, is_declared)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name,
    expires = excluded.expires, is_disabled = excluded.is_disabled, models = excluded.models, team = excluded.team,
    metadata = excluded.metadata, limits = excluded.limits, is_declared = excluded.is_declared"""
_WRITE_TEAM = """INSERT INTO teams (name, models, metadata, limits, is_declared) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET models = excluded.models, metadata = excluded.metadata,
    limits = excluded.limits, is_declared = excluded.is_declared"""


class SqliteKeys:
    """The keys in a folder. Nothing is open between two calls, so it may be carried over a fork."""

    def __init__(self, folder: Path, max_wait_s: float = MAX_WAIT_S, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._file = SqliteFile(folder / key_files.DATABASE, MIGRATIONS, max_wait_s)
        self._clock = clock

    def create(self) -> None:
        """Create the files if there are none, bring the database to the present schema, and publish the keys. Raises
        StateUnavailable."""
        with errors_as_unavailable():
            make_folder(self.folder)
        with self._file.exclusive():
            if key_files.is_new(self.folder):
                key_files.make_pepper(self.folder)
                with open_private(self._file.path):
                    pass
        self._touch()

    def read(self) -> KeyBook:
        with self._open() as (database, _):
            return _read_book(database)

    def update(self, actor: str, edit: Edit[ResultT]) -> ResultT:
        with self._file.exclusive():
            beside = None
            with self._database() as (database, pepper):
                before = _read_book(database)
                after, result = edit(before, pepper)
                entries = changes_between(before, after, actor, self._clock())
                if entries:
                    _write_changes(database, before, after, entries)
                    beside = self._write_snapshot(database, after)
            if beside:
                key_files.publish(self.folder, beside)
        return result

    def history(self, key_id: str) -> Sequence[AuditEntry]:
        with self._open() as (database, _):
            rows = database.execute(
                "SELECT at, actor, action, key_id, name, changed FROM audit WHERE key_id = ?"
                " ORDER BY number DESC LIMIT ?",
                (key_id, MOST_ENTRIES),
            )
            return list(map(read_audit, rows))

    def _touch(self) -> None:
        """Publish the keys if the snapshot is not that of the database: a process may have been killed between its
        commit and the rename. Keys that have ended since are left out of it."""
        with self._file.exclusive():
            with self._database() as (database, _):
                beside = self._write_snapshot(database, _read_book(database))
            key_files.publish(self.folder, beside)

    @contextmanager
    def _open(self) -> Iterator[tuple[sqlite3.Connection, bytes]]:
        with self._file.exclusive(), self._database() as opened:
            yield opened

    @contextmanager
    def _database(self) -> Iterator[tuple[sqlite3.Connection, bytes]]:
        """Open the database, and yield it with the pepper."""
        if not self._file.path.exists():
            raise unavailable(f"{key_files.DATABASE} is missing")
        with self._file.transaction() as database:
            pepper = key_files.read_pepper(self.folder)
            _check_pepper(database, pepper)
            yield database, pepper

    def _write_snapshot(self, database: sqlite3.Connection, book: KeyBook) -> Path:
        (generation,) = database.execute("SELECT generation FROM state").fetchone()
        return key_files.write_beside(self.folder, make_document(book, generation, self._clock()))


def _check_pepper(database: sqlite3.Connection, pepper: bytes) -> None:
    """Check that the digests were made with this pepper. Raises StateUnavailable."""
    check = derive_bytes(pepper, "check").hex()
    row = database.execute("SELECT pepper_check FROM state").fetchone()
    if row is None:
        database.execute("INSERT INTO state (generation, pepper_check) VALUES (0, ?)", (check,))
    elif row[0] != check:
        raise unavailable(f"{key_files.PEPPER} is not the one that the database was made with; restore it")


def _read_book(database: sqlite3.Connection) -> KeyBook:
    return make_book(
        database.execute(f"SELECT {', '.join(KEY_COLUMNS)} FROM keys"),  # noqa: S608 names of columns
        database.execute(f"SELECT {', '.join(TEAM_COLUMNS)} FROM teams"),  # noqa: S608
        database.execute(f"SELECT {', '.join(SECRET_COLUMNS)} FROM secrets ORDER BY created"),  # noqa: S608
    )


def _write_changes(
    database: sqlite3.Connection, before: KeyBook, after: KeyBook, entries: Sequence[AuditEntry]
) -> None:
    database.executemany(_WRITE_TEAM, map(team_row, find_changes(before.teams, after.teams)))
    keys = list(find_changes(before.keys, after.keys))
    database.executemany(_WRITE_KEY, map(key_row, keys))
    database.executemany("DELETE FROM secrets WHERE key_id = ?", [(key.id,) for key in keys])
    database.executemany(
        "INSERT INTO secrets (key_id, digest, tail, created, ends, request) VALUES (?, ?, ?, ?, ?, ?)",
        secret_rows(keys),
    )
    database.executemany(
        "INSERT INTO audit (at, actor, action, key_id, name, changed) VALUES (?, ?, ?, ?, ?, ?)",
        map(audit_row, entries),
    )
    database.execute("UPDATE state SET generation = generation + 1")
