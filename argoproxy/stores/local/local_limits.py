"""A LimitStore in the memory that the workers of a host share, with a SQLite file behind it.

What a request asks of all limits is granted in one step, in the table of counters. What it holds is in the log of its
worker until it is settled, and what it came to until that is in the database. What a killed worker has left is charged
and written down by another one.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.admission import decide, settle
from argoproxy.protocol.limits.limits import CONCURRENT, Admission, Claim
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.abandoned_requests import AbandonedRequests
from argoproxy.stores.local.counter_loader import CounterLoader
from argoproxy.stores.local.counter_table import Changed, CounterTable
from argoproxy.stores.local.host_files import HostFiles, OpenFiles
from argoproxy.stores.local.request_log import RequestLog, encode_running, encode_settled, logged_slots
from argoproxy.stores.local.usage_database import UsageDatabase
from argoproxy.stores.local.usage_writer import UsageWriter
from argoproxy.stores.sqlite_file import reason_of
from argoproxy.stores.worker_database import MAX_WAIT_S, Reporter, ResultT, Work, log_trouble

#: Requests of a worker that ended, and wait because they can't be written down.
MOST_KEPT = 10_000
#: How often they are tried again.
RETRY_S = 1.0
#: How often a worker looks for requests of workers that were killed, at most.
SWEEP_S = 4.0
_WRITTEN_AT_ONCE = 1000
_NOTHING_ASKED = Admission()


class _Settlement(NamedTuple):
    charges: Mapping[str, int]
    entry: LedgerEntry | None


class LocalLimits:
    """The counters and the ledger in a folder. Nothing is opened before the first request. Use one for a folder in a
    process. A request is settled by the worker that has admitted it."""

    def __init__(
        self, folder: Path, report: Reporter = log_trouble, max_wait_s: float = MAX_WAIT_S, retry_s: float = RETRY_S
    ) -> None:
        """`report` is called with the reason when the file can't be used any more, and with None when it can again."""
        self._database = UsageDatabase(folder, report, max_wait_s)
        self._loader = CounterLoader(self._database, max_wait_s)
        self._abandoned = AbandonedRequests(self._database, self._loader)
        self._files = HostFiles(folder, self._list_records, lambda files: self._abandoned.settle(files, self._now))
        self._writer = UsageWriter(self.flush, self._sweep_if_due, retry_s)
        self._max_wait_s = max_wait_s
        self._running: dict[str, Reservation] = {}
        #: Of requests that ended: entries that are not in the database yet, and settlements that could not be done.
        self._entries: dict[str, LedgerEntry] = {}
        self._kept: dict[str, _Settlement] = {}
        self._now, self._next_sweep = time.time(), 0.0
        #: The moment that the writer saw last, and when by its own clock.
        self._seen = self._now, time.monotonic()
        atexit.register(self.close)

    @property
    def is_up(self) -> bool:
        """Whether the file could be used last time."""
        return self._database.is_up

    def admit(self, reservation: Reservation, now: float) -> Admission:
        """See LimitStore. A request without claims goes on if it can't be remembered."""
        self._now = now
        try:
            return self._claim(reservation, reservation.claims, now)
        except StateUnavailable:
            if reservation.claims:
                raise
            return _NOTHING_ASKED

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        """See LimitStore. Claims that the request has are not counted again; those of a request that was let through
        without counting are not counted either."""
        request = self._running.get(request_id)
        if request is None:
            return _NOTHING_ASKED
        rows = {claim.row for claim in request.claims}
        more = [claim for claim in claims if claim.row not in rows]
        if not more:
            return _NOTHING_ASKED
        return self._claim(request._replace(claims=[*request.claims, *more]), more, now)

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        """See LimitStore."""
        if request_id in self._kept or request_id in self._entries:
            return
        self._now = now
        try:
            self._settle(request_id, charges, entry, now)
        except StateUnavailable:
            if len(self._kept) < MOST_KEPT:
                self._kept[request_id] = _Settlement(charges, entry)
        self._writer.wake()

    def write(self, work: Work[ResultT], now: float) -> ResultT:
        """Do work in a transaction, after all that ended was written. Raises StateUnavailable."""
        self._now = now
        self.flush()
        return self._database.run(work)

    def flush(self) -> None:
        """Write down what ended, and counters. Raises StateUnavailable."""
        for request_id, (charges, entry) in list(self._kept.items()):
            self._settle(request_id, charges, entry, self._now)
            self._kept.pop(request_id, None)
        table = self._open().table
        while True:
            written = dict(islice(list(self._entries.items()), _WRITTEN_AT_ONCE))
            changed = self._database.write(list(written.values()), partial(self._read_changed, table), self._now)
            with self._errors_reported(), table.exclusive(self._max_wait_s):
                table.mark_written(changed)
            for request_id in written:
                self._entries.pop(request_id, None)
            if len(written) < _WRITTEN_AT_ONCE:
                return

    def sweep(self, now: float) -> int:
        """Settle the requests of workers that are gone, and return how many such workers there were. Raises
        StateUnavailable."""
        self._now = now
        self._next_sweep = now + SWEEP_S
        files, owner, gone = self._open(), self._files.owner, 0
        with self._errors_reported():
            for slot in logged_slots(owner.folder):
                with owner.replace(slot) as is_gone:
                    if is_gone:
                        gone += 1
                        log = RequestLog(owner.folder, slot, files.table)
                        self._abandoned.settle(OpenFiles(files.table, log), now)
        return gone

    def close(self) -> None:
        """Write what is left to be written, as far as possible, and close the files."""
        self._writer.stop()
        if self._files.is_open or self._kept:
            with suppress(StateUnavailable):
                self.flush()
        self._files.close()
        self._database.close()
        atexit.unregister(self.close)

    def _claim(self, request: Reservation, more: Sequence[Claim], now: float) -> Admission:
        """Grant claims of a request or none. Requests at once that killed workers have left are no reason to refuse."""
        admission = self._decide(request, more, now)
        refused = admission.refused
        if refused is not None and refused.kind is CONCURRENT and self.sweep(now):
            admission = self._decide(request, more, now)
        return admission

    def _decide(self, request: Reservation, more: Sequence[Claim], now: float) -> Admission:
        admission, record = _NOTHING_ASKED, encode_running(request)
        try:
            table, log = self._files.open()
            places, counters = self._loader.lock(table, more)
            try:
                if more:
                    admission = decide(more, counters, int(now * 1e6))
                    if admission.refused is not None:
                        return admission
                end = log.append(record, self._list_records)
                table.change(places, admission.counters, log.slot, end)
                self._running[request.if_abandoned.request_id] = request
                if more:
                    self._writer.wake()
            finally:
                table.lock.release()
        except OSError as error:
            raise self._database.fail(reason_of(error)) from error
        return admission

    def _settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        """Charge a request, and note its entry."""
        running = self._running.get(request_id)
        if running is None and entry is None:
            return
        claims = running.claims if running else ()
        if len(self._entries) >= MOST_KEPT:
            entry = None
        record = encode_settled(request_id, entry)
        try:
            table, log = self._files.open()
            places, counters = self._loader.lock(table, claims)
            try:
                if claims:
                    counters = settle(claims, charges, counters, int(now * 1e6))
                table.change(places, counters, log.slot, log.append(record, self._list_records))
                self._running.pop(request_id, None)
                if entry is not None:
                    self._entries[request_id] = entry
            finally:
                table.lock.release()
        except OSError as error:
            raise self._database.fail(reason_of(error)) from error

    @contextmanager
    def _errors_reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._database.fail(reason_of(error)) from error

    def _open(self) -> OpenFiles:
        """Return the files. Raises StateUnavailable."""
        try:
            return self._files.open()
        except OSError as error:
            raise self._database.fail(reason_of(error)) from error

    def _list_records(self) -> Iterator[bytes]:
        """Yield the records of this worker's requests that are still needed."""
        yield from map(encode_running, list(self._running.values()))
        for request_id, entry in list(self._entries.items()):
            yield encode_settled(request_id, entry)

    def _sweep_if_due(self) -> None:
        if self._now != self._seen[0]:
            self._seen = self._now, time.monotonic()
        now = self._seen[0] + time.monotonic() - self._seen[1]
        if not self._next_sweep - SWEEP_S <= now < self._next_sweep:
            self.sweep(now)

    def _read_changed(self, table: CounterTable) -> Sequence[Changed]:
        with table.exclusive(self._max_wait_s):
            return table.list_changed()
