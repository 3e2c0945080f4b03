"""A LimitStore in a SQLite file, exact for all workers of a host.

A request that was admitted is a row of `open_requests` until it is settled. The row belongs to the slot of its worker,
a file lock that the kernel releases when the worker ends: what a killed worker has left is charged and written down by
another one.
"""

from __future__ import annotations

import atexit
import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.admission import charge_abandoned, decide, settle
from argoproxy.protocol.limits.buckets import MOST_USED, Counter
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.request_owner import RequestOwner
from argoproxy.stores.worker_database import MAX_WAIT_S, Reporter, ResultT, Work, WorkerDatabase, log_trouble

DATABASE, SLOTS = "usage.sqlite3", "slots"
#: Settlements that are kept in memory while the file can't be written.
MOST_KEPT = 10_000
#: How often they are tried again where no request comes: they may hold places of requests at once.
RETRY_S = 1.0
#: How many of them are written with one request, which should not wait for all.
_KEPT_AT_ONCE = 100
#: How often a worker looks for requests of workers that were killed.
SWEEP_S = 5.0
#: Counters of periods that ended so long ago are removed, once in an hour.
_PRUNE_AFTER_S = 40 * 86_400.0
_PRUNE_S = 3600.0
_LONGEST_NAME = 256

_COLUMNS = tuple(field.name for field in fields(LedgerEntry))
_NAMES, _MARKS = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
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
)
_OPEN = f"INSERT OR REPLACE INTO open_requests (owner, claims, abandoned_tokens, {_NAMES}) VALUES (?, ?, ?, {_MARKS})"  # noqa: S608 names of fields
_WRITE_ENTRY = f"INSERT OR IGNORE INTO ledger ({_NAMES}) VALUES ({_MARKS})"  # noqa: S608
_MOVE_ENTRY = f"INSERT OR IGNORE INTO ledger ({_NAMES}) SELECT {_NAMES} FROM open_requests WHERE request_id = ?"  # noqa: S608
_READ_COUNTERS = "SELECT json_group_array(json_array(row, used, at_us)) FROM counters WHERE row IN ({})"
_SET_COUNTERS = """INSERT INTO counters (row, used, at_us, ends_at) VALUES {}
    ON CONFLICT (row) DO UPDATE SET used = excluded.used, at_us = excluded.at_us"""
_KINDS = {kind.value: kind for kind in LimitKind}
_values_of = attrgetter(*_COLUMNS)


class _Settlement(NamedTuple):
    request_id: str
    charges: Mapping[str, int]
    entry: LedgerEntry | None


class SqliteLimits:
    """The counters and the ledger in a folder. Nothing is opened before the first request. Use one for a folder in a
    process."""

    def __init__(
        self, folder: Path, report: Reporter = log_trouble, max_wait_s: float = MAX_WAIT_S, retry_s: float = RETRY_S
    ) -> None:
        """`report` is called with the reason when the file can't be used any more, and with None when it can again."""
        self._database = WorkerDatabase(folder / DATABASE, MIGRATIONS, report, max_wait_s)
        self._owner = RequestOwner(folder / SLOTS)
        self._kept: dict[str, _Settlement] = {}
        self._retry_s, self._retry = retry_s, threading.Timer(0, self._write_all_kept)
        self._next_sweep = self._next_prune = 0.0
        atexit.register(self.close)

    @property
    def is_up(self) -> bool:
        """Whether the file could be used last time."""
        return self._database.is_up

    def admit(self, reservation: Reservation, now: float) -> Admission:
        """See LimitStore. A request without claims goes on if the file can't be used."""

        def open_request(database: sqlite3.Connection) -> Admission:
            admission = self._claim(database, reservation.claims, now)
            if not admission.refused:
                row = (self._owner.slot, _dump_claims(reservation.claims), reservation.abandoned_tokens)
                database.execute(_OPEN, row + _entry_row(reservation.if_abandoned))
            return admission

        try:
            return self.write(open_request, now)
        except StateUnavailable:
            if reservation.claims:
                raise
            return Admission()

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        """See LimitStore. Claims that the request has are not counted again; those of a request that was let through
        without counting are not counted either."""

        def extend_request(database: sqlite3.Connection) -> Admission:
            found = database.execute("SELECT claims FROM open_requests WHERE request_id = ?", (request_id,)).fetchone()
            if found is None:
                return Admission()
            before = _load_claims(found[0])
            rows = {claim.row for claim in before}
            more = [claim for claim in claims if claim.row not in rows]
            admission = self._claim(database, more, now)
            if more and not admission.refused:
                both = _dump_claims([*before, *more])
                database.execute("UPDATE open_requests SET claims = ? WHERE request_id = ?", (both, request_id))
            return admission

        return self.write(extend_request, now)

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        """See LimitStore."""
        if request_id in self._kept:
            return
        settlement = _Settlement(request_id, charges, entry)
        try:
            self.write(lambda database: _write_settlement(database, settlement, _to_us(now)), now)
        except StateUnavailable:
            is_first = not self._kept
            if len(self._kept) < MOST_KEPT:
                self._kept.setdefault(request_id, settlement)
            if is_first:  # after it is kept: a timer that finds nothing is not set again
                self._retry_later()

    def sweep(self, now: float) -> None:
        """Settle the requests of workers that are gone, and what could not be settled. Raises StateUnavailable."""
        self._next_sweep = 0.0
        self.write(lambda database: None, now)

    def close(self) -> None:
        """Write what is kept, as far as possible, and close the file."""
        self._retry.cancel()
        with suppress(StateUnavailable):
            self._flush()
        self._database.close()
        atexit.unregister(self.close)

    def _flush(self) -> None:
        """Write what is kept. Raises StateUnavailable."""
        while self._kept:
            self.write(lambda database: None, time.time())

    def _retry_later(self) -> None:
        self._retry.cancel()
        self._retry = threading.Timer(self._retry_s, self._write_all_kept)
        self._retry.daemon = True
        self._retry.start()

    def _write_all_kept(self) -> None:
        try:
            self._flush()
        except StateUnavailable:
            self._retry_later()

    def write(self, work: Work[ResultT], now: float) -> ResultT:
        """Do work in a transaction, after what was left to do. Raises StateUnavailable."""
        written: Sequence[str] = ()

        def do_all(database: sqlite3.Connection) -> ResultT:
            nonlocal written
            if not self._next_sweep - SWEEP_S <= now < self._next_sweep:
                self._tidy_up(database, now)
            if self._kept:
                written = self._write_kept(database, now)
            return work(database)

        result = self._database.write(do_all, lambda database: self._start(database, now))
        self._owner.is_new = False
        for request_id in written:
            self._kept.pop(request_id, None)
        return result

    def _start(self, database: sqlite3.Connection, now: float) -> None:
        """Take a slot, and settle the requests of the killed worker that had it before."""
        self._owner.take()
        if self._owner.is_new:
            self._settle_abandoned(database, {self._owner.slot}, now)
        self._next_sweep = self._next_prune = 0.0

    def _claim(self, database: sqlite3.Connection, claims: Sequence[Claim], now: float) -> Admission:
        """Grant claims or none. Requests at once that killed workers have left are no reason to refuse."""
        if not claims:
            return Admission()
        now_us = _to_us(now)
        admission, after = decide(claims, _read_counters(database, claims), now_us)
        if admission.refused and admission.refused.kind == LimitKind.CONCURRENT and self._sweep(database, now):
            admission, after = decide(claims, _read_counters(database, claims), now_us)
        if not admission.refused:
            _set_counters(database, [(claim.row, *after[claim.row], claim.resets_at) for claim in claims])
        return admission

    def _tidy_up(self, database: sqlite3.Connection, now: float) -> None:
        self._next_sweep = now + SWEEP_S
        self._sweep(database, now)
        if not self._next_prune - _PRUNE_S <= now < self._next_prune:
            self._next_prune = now + _PRUNE_S
            database.execute("DELETE FROM counters WHERE ends_at < ?", (now - _PRUNE_AFTER_S,))

    def _sweep(self, database: sqlite3.Connection, now: float) -> int:
        """Settle the requests of workers that are gone, and return how many there were."""
        owners = {owner for (owner,) in database.execute("SELECT DISTINCT owner FROM open_requests")}
        return self._settle_abandoned(database, self._owner.find_gone(owners), now)

    def _settle_abandoned(self, database: sqlite3.Connection, owners: Collection[int], now: float) -> int:
        rows = [
            row
            for owner in sorted(owners)
            for row in database.execute(
                "SELECT request_id, claims, abandoned_tokens FROM open_requests WHERE owner = ?", (owner,)
            )
        ]
        for request_id, text, tokens in rows:
            claims = _load_claims(text)
            _change_counters(database, claims, charge_abandoned(claims, tokens), _to_us(now))
            database.execute(_MOVE_ENTRY, (request_id,))
            database.execute("DELETE FROM open_requests WHERE request_id = ?", (request_id,))
        return len(rows)

    def _write_kept(self, database: sqlite3.Connection, now: float) -> list[str]:
        settlements = list(self._kept.values())[:_KEPT_AT_ONCE]
        for settlement in settlements:
            _write_settlement(database, settlement, _to_us(now))
        return [settlement.request_id for settlement in settlements]


def _write_settlement(database: sqlite3.Connection, settlement: _Settlement, now_us: int) -> None:
    found = database.execute(
        "DELETE FROM open_requests WHERE request_id = ? RETURNING claims", (settlement.request_id,)
    ).fetchall()
    if found and found[0][0]:
        _change_counters(database, _load_claims(found[0][0]), settlement.charges, now_us)
    if settlement.entry is not None:
        database.execute(_WRITE_ENTRY, _entry_row(settlement.entry))


def _read_counters(database: sqlite3.Connection, claims: Sequence[Claim]) -> dict[str, Counter]:
    # In one row: at each row of a result other threads may run, and those that wait for this one can't.
    query = _READ_COUNTERS.format(", ".join("?" * len(claims)))
    ((text,),) = database.execute(query, [claim.row for claim in claims])
    return {row: Counter(used, at_us) for row, used, at_us in json.loads(text)}


def _change_counters(
    database: sqlite3.Connection, claims: Sequence[Claim], charges: Mapping[str, int], now_us: int
) -> None:
    after = settle(claims, charges, _read_counters(database, claims), now_us)
    if after:
        _set_counters(database, [(row, used, at_us, None) for row, (used, at_us) in after.items()])


def _set_counters(database: sqlite3.Connection, counters: Sequence[tuple[str, int, int, float | None]]) -> None:
    """Set counters; the end of a period stays as it was first set."""
    database.execute(_SET_COUNTERS.format(", ".join(["(?, ?, ?, ?)"] * len(counters))), list(chain(*counters)))


def _dump_claims(claims: Iterable[Claim]) -> str:
    """Return claims as text, in which what a settlement does not need is left out; "" for none."""
    return json.dumps([(one.row, one.kind, one.limit, one.amount) for one in claims]) if claims else ""


def _load_claims(text: str) -> list[Claim]:
    return [Claim(row, _KINDS[kind], "", limit, amount) for row, kind, limit, amount in json.loads(text or "[]")]


def _entry_row(entry: LedgerEntry) -> tuple[Any, ...]:
    """Return the values of an entry. Clients choose names of models: what can't be stored is replaced."""
    if entry.model.isascii() and len(entry.model) <= _LONGEST_NAME and (entry.cost_nanos or 0) <= MOST_USED:
        return tuple(_values_of(entry))
    values = dict(zip(_COLUMNS, _values_of(entry), strict=True))
    values["model"] = entry.model[:_LONGEST_NAME].encode("utf-8", "replace").decode()
    if entry.cost_nanos is not None:
        values["cost_nanos"] = min(entry.cost_nanos, MOST_USED)
    return tuple(values.values())


def _to_us(now: float) -> int:
    return int(now * 1e6)
