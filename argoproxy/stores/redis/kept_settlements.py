"""Settlements that the shared server has yet to learn, in a SQLite file of this host: all its workers add to them, and
any of them delivers them when the server is there again, also after a restart.

What has been delivered of a budget is added up, because the counters that this host keeps for itself meanwhile are
never set back: what they hold beyond that is what the server does not know.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from argoproxy.errors import StateUnavailable
from argoproxy.stores.redis.redis_limits import LateSettlement
from argoproxy.stores.sqlite_file import make_folder
from argoproxy.stores.worker_database import WorkerDatabase, log_trouble

FILE_NAME = "settlements.sqlite3"
#: Settlements of a worker that are kept in its memory while the file can't be written.
MOST_IN_MEMORY = 10_000
#: Those that are delivered at once.
BATCH = 100
#: What is used of a limit a minute is forgotten after it.
_BUCKET_S = 60.0
#: Sums of budgets whose period ended long ago are removed.
_PRUNE_AFTER_S = 400 * 86_400.0

_MIGRATIONS = (
    (
        """CREATE TABLE settlements (number INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, at REAL NOT NULL,
            claims TEXT NOT NULL, charges TEXT NOT NULL, is_admitted INTEGER NOT NULL)""",
        "CREATE TABLE delivered (row TEXT PRIMARY KEY, nanos INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    ),
)
_ADD = "INSERT OR REPLACE INTO settlements (request_id, at, claims, charges, is_admitted) VALUES (?, ?, ?, ?, ?)"
_READ = "SELECT request_id, claims, charges, is_admitted, at FROM settlements ORDER BY number LIMIT ?"
_ADD_UP = """INSERT INTO delivered (row, nanos, at) VALUES (?, ?, ?)
    ON CONFLICT (row) DO UPDATE SET nanos = nanos + excluded.nanos, at = excluded.at"""

#: A settlement, and when it was kept (seconds since 1970).
Kept = tuple[LateSettlement, float]


class KeptSettlements:
    """The settlements that are kept in a folder, which is created with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = WorkerDatabase(folder / FILE_NAME, _MIGRATIONS, log_trouble)
        self._lock = threading.Lock()
        self._unwritten: list[Kept] = []

    def keep(self, settlement: LateSettlement, now: float) -> None:
        """Keep a settlement, in memory if the file can't be written."""
        try:
            self._write([(settlement, now)])
        except (StateUnavailable, OSError):
            with self._lock:
                if len(self._unwritten) < MOST_IN_MEMORY:
                    self._unwritten.append((settlement, now))

    def read(self) -> Sequence[Kept]:
        """Return the oldest ones. Raises StateUnavailable."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, []
        try:
            self._write(unwritten)
        except (StateUnavailable, OSError):
            self._unwritten = [*unwritten, *self._unwritten]
            return unwritten[:BATCH]
        if not self._exists():
            return []
        rows = self._database.write(lambda database: database.execute(_READ, (BATCH,)).fetchall())
        return [
            (LateSettlement(request_id, claims, json.loads(charges), bool(is_admitted)), at)
            for request_id, claims, charges, is_admitted, at in rows
        ]

    def remove(self, settlements: Sequence[LateSettlement], now: float) -> None:
        """Remove what was delivered. Raises StateUnavailable."""
        ids = {one.request_id for one in settlements}
        with self._lock:
            self._unwritten = [kept for kept in self._unwritten if kept[0].request_id not in ids]
        if not self._exists():
            return

        def remove_all(database: sqlite3.Connection) -> None:
            for one in settlements:
                removed = database.execute("DELETE FROM settlements WHERE request_id = ?", (one.request_id,))
                if removed.rowcount and not one.is_admitted:  # another worker may have delivered it too
                    sums = [(row, nanos, now) for row, nanos in one.charges.items() if "/budget/" in row]
                    database.executemany(_ADD_UP, sums)
            database.execute("DELETE FROM delivered WHERE at < ?", (now - _PRUNE_AFTER_S,))

        self._database.write(remove_all)

    def sum_delivered(self) -> Mapping[str, int]:
        """Return what has been delivered of each budget. Raises StateUnavailable."""
        if not self._exists():
            return {}
        statement = "SELECT row, nanos FROM delivered"
        return dict(self._database.write(lambda database: database.execute(statement).fetchall()))

    def close(self) -> None:
        """Write what is in memory, as far as possible, and close the file."""
        with suppress(StateUnavailable, OSError), self._lock:
            self._write(self._unwritten)
            self._unwritten = []
        self._database.close()

    def _exists(self) -> bool:
        return (self._folder / FILE_NAME).exists()

    def _write(self, kept: Sequence[Kept]) -> None:
        """Write settlements. Raises StateUnavailable, OSError."""
        if not kept:
            return
        make_folder(self._folder)
        rows = [
            (one.request_id, at, one.claims, json.dumps(dict(one.charges)), int(one.is_admitted)) for one, at in kept
        ]

        def write_all(database: sqlite3.Connection) -> None:
            database.executemany(_ADD, rows)

        self._database.write(write_all)


def current_charges(settlement: LateSettlement, age_s: float) -> LateSettlement:
    """Return a settlement as it is delivered after a time: what was used of a limit a minute is left out if it would be
    free again."""
    if settlement.is_admitted or age_s < _BUCKET_S:
        return settlement
    charges = {row: charge for row, charge in settlement.charges.items() if not row.endswith(("/rpm", "/tpm"))}
    return LateSettlement(settlement.request_id, settlement.claims, charges, settlement.is_admitted)
