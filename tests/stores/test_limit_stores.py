"""Every store of counters, by any sequence of what workers do with it, against a plain model."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from hypothesis import settings

from argoproxy.stores.limit_store import LimitStore
from argoproxy.stores.sqlite_file import SqliteFile
from argoproxy.stores.sqlite_limits import DATABASE, SqliteLimits
from tests.support.limit_machine import WORKERS, LimitStoreMachine
from tests.support.memory_limits import MemoryLimits

#: The slot of a worker that there never was.
GONE = 77


class InMemory:
    def __init__(self) -> None:
        self._store = MemoryLimits()
        self.workers: Sequence[LimitStore] = [self._store] * WORKERS

    def kill(self, requests: Sequence[str], now: float) -> None:
        for request_id in requests:
            self._store.abandon(request_id, now)

    def lock(self) -> bool:
        return False

    def unlock(self) -> None:
        """Nothing is locked."""

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        return {key: (entry.ending, entry.cost_nanos) for key, entry in self._store.ledger.items()}

    def close(self) -> None:
        """Nothing is left."""


class InSqlite:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self._stores = [SqliteLimits(self.folder, lambda _: None, 0.001, 600.0) for _ in range(WORKERS)]
        self.workers: Sequence[LimitStore] = self._stores
        self._locks = ExitStack()

    def kill(self, requests: Sequence[str], now: float) -> None:
        with closing(sqlite3.connect(self.folder / DATABASE, isolation_level=None)) as database:
            database.executemany(f"UPDATE open_requests SET owner = {GONE} WHERE request_id = ?", zip(requests))
        self._stores[0].sweep(now)

    def lock(self) -> bool:
        self._locks.enter_context(SqliteFile(self.folder / DATABASE, [], 1.0).exclusive())
        return True

    def unlock(self) -> None:
        self._locks.close()

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        if not (self.folder / DATABASE).exists():
            return {}
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            rows = database.execute("SELECT request_id, ending, cost_nanos FROM ledger").fetchall()
        written = {request_id: (ending, cost) for request_id, ending, cost in rows}
        assert len(written) == len(rows)
        return written

    def close(self) -> None:
        self._locks.close()
        for worker in self.workers:
            worker.close()
        shutil.rmtree(self.folder)


class MemoryMachine(LimitStoreMachine):
    make = InMemory


class SqliteMachine(LimitStoreMachine):
    make = InSqlite


TestInMemory = MemoryMachine.TestCase
TestInSqlite = SqliteMachine.TestCase
TestInMemory.settings = TestInSqlite.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
