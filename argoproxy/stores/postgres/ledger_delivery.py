"""Moves what this host has written down to the ledger of all replicas, once a second. Until an entry is known there it
stays in the file of the host, so nothing is lost while the database can't be used or when a worker is killed; and an
entry that is delivered twice, because the answer was lost, is one row."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from argoproxy.errors import StateUnavailable
from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.ledger_outbox import LedgerOutbox
from argoproxy.stores.postgres.host_task import LastSuccess
from argoproxy.stores.postgres.postgres_ledger import write_entries
from argoproxy.stores.postgres.postgres_schema import RefusedRows, Transactions

logger = logging.getLogger("argoproxy")

DELIVER_S = 1.0
#: The file whose time tells when nothing was left to deliver, in the folder of keys.
DELIVERED = "ledger.delivered"
#: Entries that are delivered in one transaction.
BATCH = 500
#: Why entries are dropped: more wait than may be kept, or the database refuses a value of theirs.
BACKLOG, REFUSED = "backlog", "refused"
#: How long a worker that ends goes on delivering.
_FINISH_S = 5.0


class ClosableTransactions(Transactions, Protocol):
    """A database with a connection that is kept."""

    def close(self) -> None:
        """Close the connection."""


class LedgerDelivery:
    """The SharedWork of a HostTask."""

    def __init__(
        self,
        outbox: LedgerOutbox,
        database: ClosableTransactions,
        most_kept: int,
        delivered: LastSuccess,
        count_dropped: Callable[[str, int], None],
    ) -> None:
        """While the database can't be used, `most_kept` entries are kept, and older ones dropped. `delivered` is noted
        whenever nothing is left; `count_dropped` is called with a reason and how many entries were dropped."""
        self._outbox, self._database, self._most_kept, self._delivered = outbox, database, most_kept, delivered
        self._count_dropped = count_dropped
        for reason in (BACKLOG, REFUSED):
            count_dropped(reason, 0)  # an alert compares with an earlier count
        self._is_up = True

    def step(self) -> float:
        """Deliver all that there is."""
        self._deliver(float("inf"))
        return DELIVER_S

    def finish(self) -> None:
        """Deliver what the last requests have left."""
        self._deliver(time.monotonic() + _FINISH_S)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _deliver(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                batch = self._outbox.read(BATCH)
                if batch.entries:
                    self._write(batch.entries)
                    self._outbox.remove(batch)
                if len(batch.entries) < BATCH:
                    self._succeed()
                    return
        except StateUnavailable as error:
            self._fail(error)

    def _write(self, entries: Sequence[LedgerEntry]) -> None:
        """Write entries. One that the database can't hold is left out, and counted. Raises StateUnavailable."""
        with suppress(RefusedRows):
            self._database.write(lambda cursor: write_entries(cursor, entries))
            return
        if len(entries) > 1:
            for entry in entries:
                self._write([entry])
        else:
            self._count_dropped(REFUSED, 1)
            logger.error("code=ledger_entries_dropped count=1: the database refuses a value of this request")

    def _succeed(self) -> None:
        self._delivered.note()
        if not self._is_up:
            self._is_up = True
            logger.warning("code=ledger_delivered: the database has all that this host has kept for the ledger")

    def _fail(self, error: StateUnavailable) -> None:
        if self._is_up:
            self._is_up = False
            logger.error("code=ledger_not_delivered: %s This host keeps the ledger until then.", error.message)
        try:
            dropped = self._outbox.drop_beyond(self._most_kept)
        except StateUnavailable:
            return
        if dropped:
            self._count_dropped(BACKLOG, dropped)
            text = "code=ledger_entries_dropped count=%s: this host keeps ledger_backlog entries at most"
            logger.error(text, dropped)
