"""Brings counters from the database into the table."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from argoproxy.protocol.limits.buckets import UNUSED
from argoproxy.protocol.limits.limits import Claim
from argoproxy.stores.local.counter_table import CounterTable
from argoproxy.stores.local.usage_database import UsageDatabase

#: How often counters are loaded that others remove meanwhile.
_TRIES = 20


class CounterLoader:
    """Locks the table with the counters that are asked for in it."""

    def __init__(self, database: UsageDatabase, max_wait_s: float) -> None:
        self._database, self._max_wait_s = database, max_wait_s

    def lock(self, table: CounterTable, claims: Sequence[Claim]) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """Lock the table, and return the places of the counters of claims, and the counters; without claims only other
        threads are kept out. Raises StateUnavailable, OSError; then it is not locked."""
        if not claims:
            table.lock.acquire_thread(self._max_wait_s)
            return (), ()
        for _ in range(_TRIES):
            table.lock.acquire(self._max_wait_s)
            found = table.read_claimed(claims)
            if found is not None:
                return found
            missing = [claim for claim in claims if table.find(claim.row) is None]
            table.lock.release()
            self._load(table, missing)
        raise OSError(errno.ENOSPC, "the table of counters is too small")

    def _load(self, table: CounterTable, claims: Sequence[Claim]) -> None:
        """Add counters to the table, as the database has them."""
        removed = table.removed
        known = self._database.read_counters([claim.row for claim in claims])
        with table.exclusive(self._max_wait_s):
            if table.removed != removed:
                return
            for claim in claims:
                if table.find(claim.row) is None:
                    table.add(claim.row, known.get(claim.row, UNUSED), claim.resets_at)
