"""Settles the requests of workers that are gone, by their logs."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.protocol.limits.admission import charge_abandoned, settle
from argoproxy.stores.limit_store import Reservation
from argoproxy.stores.local.counter_loader import CounterLoader
from argoproxy.stores.local.host_files import OpenFiles
from argoproxy.stores.local.request_log import EMPTY, encode_running
from argoproxy.stores.local.usage_database import UsageDatabase

#: Requests that are charged in one step.
_AT_ONCE = 25


class AbandonedRequests:
    """What killed workers have left."""

    def __init__(self, database: UsageDatabase, loader: CounterLoader) -> None:
        self._database, self._loader = database, loader

    def settle(self, files: OpenFiles, now: float) -> None:
        """Write down all of a log, charge the requests that ran, and remove it. Each step may be done again, should
        this worker be killed, too. Raises StateUnavailable, OSError."""
        content = files.log.read()
        running = list(content.open.values())
        entries = [*content.settled.values(), *(one.if_abandoned for one in running)]
        if entries:
            self._database.write(entries, tuple, now)
        for begin in range(0, len(running), _AT_ONCE):
            end = begin + _AT_ONCE
            self._charge(files, running[begin:end], running[end:], now)
        files.table.log_ends[files.log.slot] = EMPTY
        files.log.remove()

    def _charge(self, files: OpenFiles, some: Sequence[Reservation], others: Sequence[Reservation], now: float) -> None:
        """Charge some requests, and leave a log of the others."""
        table, log = files
        claims = {claim.row: claim for one in some for claim in one.claims}
        end = log.begin_turn(map(encode_running, others)) if others else EMPTY
        places, known = self._loader.lock(table, list(claims.values()))
        try:
            counters = dict(zip(claims, known, strict=True))
            for one in some:
                rows = [claim.row for claim in one.claims]
                charges = charge_abandoned(one.claims, one.abandoned_tokens)
                after = settle(one.claims, charges, [counters[row] for row in rows], int(now * 1e6))
                counters.update(zip(rows, after, strict=True))
            table.change(places, list(counters.values()), log.slot, end)
        finally:
            table.lock.release()
