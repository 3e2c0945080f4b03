"""The SQLite file with the ledger and the counters of a host. Workers write to it what has happened since the last
time, many requests at once: each statement lets other threads run, and so costs more than its own work."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.buckets import MOST_USED, Counter
from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.counter_names import fit_row
from argoproxy.stores.local.counter_table import Changed
from argoproxy.stores.worker_database import Reporter, ResultT, Work, WorkerDatabase

DATABASE = "usage.sqlite3"
#: Counters of periods that ended so long ago are removed, once in an hour.
_PRUNE_AFTER_S = 40 * 86_400.0
_PRUNE_S = 3600.0
_LONGEST_NAME = 256
#: Rows that one statement writes.
_AT_ONCE = 32

_NAMES = ", ".join(LedgerEntry._fields)
_ENTRY = """request_id TEXT NOT NULL {}, at REAL NOT NULL, key_id TEXT NOT NULL, key_name TEXT NOT NULL,
    team TEXT NOT NULL, model TEXT NOT NULL, upstream TEXT NOT NULL, ending TEXT NOT NULL, status INTEGER NOT NULL,
    prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER, reasoning_tokens INTEGER,
    cost_nanos INTEGER, is_estimated INTEGER NOT NULL"""

#: Numbered by their position: one that was released never changes.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE counters (row TEXT PRIMARY KEY, used INTEGER NOT NULL, at_us INTEGER NOT NULL, ends_at REAL)
            WITHOUT ROWID""",
        f"""CREATE TABLE open_requests (owner INTEGER NOT NULL, claims TEXT NOT NULL, abandoned_tokens INTEGER NOT NULL,
            {_ENTRY.format("PRIMARY KEY")}) WITHOUT ROWID""",
        f"CREATE TABLE ledger (number INTEGER PRIMARY KEY, {_ENTRY.format('UNIQUE')})",
    ),
    # Requests that run are in the logs of their workers. Those of workers of the version before were killed with them;
    # what was set aside of budgets for them stays charged.
    (
        f"INSERT OR IGNORE INTO ledger ({_NAMES}) SELECT {_NAMES} FROM open_requests",  # noqa: S608 names of columns
        "DROP TABLE open_requests",
        "DELETE FROM counters WHERE row LIKE '%/concurrent'",
    ),
)
_WRITE_ENTRIES = f"INSERT OR IGNORE INTO ledger ({_NAMES}) VALUES "  # noqa: S608
_WRITE_COUNTERS = "INSERT OR REPLACE INTO counters (row, used, at_us, ends_at) VALUES "
_READ_COUNTER = "SELECT used, at_us FROM counters WHERE row = ?"


class UsageDatabase:
    """The file in a folder. Nothing is opened before the first use. All methods raise StateUnavailable."""

    def __init__(self, folder: Path, report: Reporter, max_wait_s: float) -> None:
        """`report` is called with the reason when the file can't be used any more, and with None when it can again."""
        self._database = WorkerDatabase(folder / DATABASE, MIGRATIONS, report, max_wait_s)
        self._next_prune = 0.0

    @property
    def is_up(self) -> bool:
        """Whether the file could be used last time."""
        return self._database.is_up

    def run(self, work: Work[ResultT]) -> ResultT:
        """Do work in a transaction."""
        return self._database.write(work)

    def read_counters(self, rows: Sequence[str]) -> Mapping[str, Counter]:
        """Return those counters that there are."""

        def read(database: sqlite3.Connection) -> Mapping[str, Counter]:
            found = ((row, database.execute(_READ_COUNTER, (fit_row(row),)).fetchone()) for row in rows)
            return {row: Counter(*values) for row, values in found if values}

        return self.run(read)

    def write(
        self, entries: Sequence[LedgerEntry], read_changed: Callable[[], Sequence[Changed]], now: float
    ) -> Sequence[Changed]:
        """Write entries down, unless they are there, and counters, and return those. They are read within the
        transaction: else those of another worker, read earlier, could be written later."""

        def write_all(database: sqlite3.Connection) -> Sequence[Changed]:
            changed = read_changed()
            for some in _split(_entry_row(entry) for entry in entries):
                database.execute(_WRITE_ENTRIES + _marks(len(LedgerEntry._fields), len(some)), list(chain(*some)))
            for some in _split((row, *counter, ends_at) for _, row, counter, ends_at in changed):
                database.execute(_WRITE_COUNTERS + _marks(4, len(some)), list(chain(*some)))
            self._prune(database, now)
            return changed

        return self.run(write_all)

    def fail(self, reason: str) -> StateUnavailable:
        """Report that what belongs to the file can't be used, and return the error for it."""
        return self._database.fail(reason)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prune(self, database: sqlite3.Connection, now: float) -> None:
        if not self._next_prune - _PRUNE_S <= now < self._next_prune:
            self._next_prune = now + _PRUNE_S
            database.execute("DELETE FROM counters WHERE ends_at < ?", (now - _PRUNE_AFTER_S,))


def _split(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    iterator = iter(rows)
    while some := list(islice(iterator, _AT_ONCE)):
        yield some


def _marks(columns: int, rows: int) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * rows)


def _entry_row(entry: LedgerEntry) -> LedgerEntry:
    """Return an entry as it can be stored. Clients choose names of models."""
    if entry.model.isascii() and len(entry.model) <= _LONGEST_NAME and (entry.cost_nanos or 0) <= MOST_USED:
        return entry
    model = entry.model[:_LONGEST_NAME].encode("utf-8", "replace").decode()
    cost_nanos = None if entry.cost_nanos is None else min(entry.cost_nanos, MOST_USED)
    return entry._replace(model=model, cost_nanos=cost_nanos)
