"""What a host has written into its ledger, and others have yet to learn: read in order, and removed when it is known
elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.local_limits import LocalLimits

_NAMES = ", ".join(LedgerEntry._fields)
_READ = f"SELECT number, {_NAMES} FROM ledger ORDER BY number LIMIT ?"  # noqa: S608 names of columns


class Batch(NamedTuple):
    """Some entries, the oldest that there are, and the number of the last of them."""

    entries: Sequence[LedgerEntry]
    last: int


class LedgerOutbox:
    """The ledger of a host, from which entries are moved away. All methods raise StateUnavailable. Numbers are given
    anew once all entries are gone, so one process at a time may use it."""

    def __init__(self, limits: LocalLimits) -> None:
        self._limits = limits

    def read(self, count: int) -> Batch:
        """Return the oldest entries."""
        rows = self._limits.write(lambda database: database.execute(_READ, (count,)).fetchall(), time.time())
        entries = [LedgerEntry(*(*row[1:-1], bool(row[-1]))) for row in rows]
        return Batch(entries, rows[-1][0] if rows else 0)

    def remove(self, batch: Batch) -> None:
        """Remove entries that are known elsewhere."""
        statement = "DELETE FROM ledger WHERE number <= ?"
        self._limits.write(lambda database: database.execute(statement, (batch.last,)), time.time())

    def drop_beyond(self, most: int) -> int:
        """Remove the oldest entries until so many are left, and return how many were removed."""
        statement = "DELETE FROM ledger WHERE number <= (SELECT max(number) FROM ledger) - ?"
        return self._limits.write(lambda database: database.execute(statement, (most,)).rowcount, time.time())
