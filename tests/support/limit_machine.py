"""What workers do with a store of counters, by any sequence, against a plain model: for the tests of each store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Protocol

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation

START_US = 1_795_400_000_000_000
BUCKETS = (LimitKind.RPM, LimitKind.TPM)
SUBJECTS = ("global", "key:a", "upstream:b")
ROWS = [f"{subject}/{kind}" for subject in SUBJECTS for kind in LimitKind]
WORKERS = 2


class SharedStore(Protocol):
    """A store as its workers have it, and what a test does to it."""

    workers: Sequence[LimitStore]

    def kill(self, requests: Sequence[str], now: float) -> Sequence[str]:
        """Let killed workers have had these requests, and return all that they had."""

    def lock(self) -> bool:
        """Keep the workers from the store; False if that can't be."""

    def unlock(self) -> None:
        """Let them use it again."""

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        """Return the ending and the cost of the requests that are written down."""

    def close(self) -> None:
        """Remove all."""


@dataclass
class Bucket:
    """What is used of a limit a minute, in tokens."""

    used: Fraction = Fraction(0)
    at_us: int = START_US

    def bring_up_to(self, limit: int, now_us: int) -> None:
        if now_us > self.at_us:
            self.used = max(Fraction(0), self.used - Fraction(limit * (now_us - self.at_us), 60_000_000))
            self.at_us = now_us


@dataclass
class Model:
    """What the counters must be: sums over the requests that are open and those that were settled."""

    open: dict[str, dict[str, Claim]] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def remaining(self, claim: Claim, now_us: int) -> Fraction:
        reserved = sum(claims[claim.row].amount for claims in self.open.values() if claim.row in claims)
        if claim.kind in BUCKETS:
            bucket = self.buckets.setdefault(claim.row, Bucket())
            bucket.bring_up_to(claim.limit, now_us)
            return claim.limit - bucket.used
        return Fraction(claim.limit - reserved - self.spent.get(claim.row, 0))

    def open_request(self, request_id: str, claims: Sequence[Claim]) -> None:
        self.open.setdefault(request_id, {}).update({claim.row: claim for claim in claims})
        for claim in claims:
            if claim.kind in BUCKETS:
                self.buckets[claim.row].used += claim.amount

    def settle(self, request_id: str, charges: Mapping[str, int], written: tuple[str, int | None], now_us: int) -> None:
        for claim in self.open.pop(request_id, {}).values():
            charge = charges.get(claim.row, 0)
            if claim.kind in BUCKETS:
                bucket = self.buckets[claim.row]
                bucket.bring_up_to(claim.limit, now_us)
                bucket.used = max(Fraction(0), bucket.used + charge - claim.amount)
            elif claim.kind == LimitKind.BUDGET:
                self.spent[claim.row] = self.spent.get(claim.row, 0) + charge
        self.ledger.setdefault(request_id, written)


def entry_of(request_id: str, ending: str, cost_nanos: int | None) -> LedgerEntry:
    return LedgerEntry(request_id, START_US / 1e6, "a", "ann", "", "m", "u", ending, cost_nanos=cost_nanos)


AMOUNTS = st.integers(0, 12)
INDEXES = st.integers(0, WORKERS - 1)


class LimitStoreMachine(RuleBasedStateMachine):
    """What workers do: admit, extend, settle, die; while the store can be used and while it can't."""

    make: Callable[[], SharedStore]

    @initialize(limits=st.fixed_dictionaries({kind: st.integers(0, 20) for kind in LimitKind}))
    def begin(self, limits: dict[LimitKind, int]) -> None:
        self.limits = limits
        self.store: SharedStore = self.make()
        self.model = Model()
        self.now_us = START_US
        self.ids = (f"{number:04}" for number in count())
        self.known: list[str] = []
        self.tokens: dict[str, int] = {}
        self.is_locked = False
        #: What each worker could not write.
        self.kept: list[list[tuple[str, dict[str, int], tuple[str, int | None]]]] = [[] for _ in range(WORKERS)]

    @property
    def now(self) -> float:
        # The next float is the first one that is not before the microsecond.
        return (self.now_us + 0.5) / 1e6

    def claims_of(self, subjects: set[str], amounts: dict[LimitKind, int]) -> list[Claim]:
        return [
            Claim(f"{subject}/{kind}", kind, subject, self.limits[kind], amount)
            for subject in sorted(subjects)
            for kind, amount in ({**amounts, LimitKind.RPM: 1, LimitKind.CONCURRENT: 1}).items()
        ]

    def write_kept(self, worker: int) -> None:
        for settlement in self.kept[worker]:
            self.model.settle(*settlement, self.now_us)
        self.kept[worker].clear()

    def fits(self, claim: Claim) -> bool:
        if not claim.limit:
            return False
        return (claim.kind == LimitKind.BUDGET and not claim.amount) or (
            self.model.remaining(claim, self.now_us) >= claim.amount
        )

    @rule(
        worker=INDEXES,
        subjects=st.sets(st.sampled_from(SUBJECTS)),
        amounts=st.fixed_dictionaries({LimitKind.TPM: AMOUNTS, LimitKind.BUDGET: AMOUNTS}),
        tokens=AMOUNTS,
    )
    def admit(self, worker: int, subjects: set[str], amounts: dict[LimitKind, int], tokens: int) -> None:
        request_id, claims = next(self.ids), self.claims_of(subjects, amounts)
        self.tokens[request_id] = tokens
        reservation = Reservation(claims, entry_of(request_id, "abandoned", tokens), tokens)
        if self.is_locked:
            if claims:
                with pytest.raises(StateUnavailable):
                    self.store.workers[worker].admit(reservation, self.now)
            else:
                assert not self.store.workers[worker].admit(reservation, self.now).refused
                self.known.append(request_id)
            return
        self.write_kept(worker)
        self.check(self.store.workers[worker].admit(reservation, self.now), request_id, claims)

    @precondition(lambda self: self.known)
    @rule(worker=INDEXES, subjects=st.sets(st.sampled_from(SUBJECTS)), data=st.data())
    def extend(self, worker: int, subjects: set[str], data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(self.known))
        claims = self.claims_of(subjects, {LimitKind.TPM: 2, LimitKind.BUDGET: 3})
        if self.is_locked:
            with pytest.raises(StateUnavailable):
                self.store.workers[worker].extend(request_id, claims, self.now)
            return
        self.write_kept(worker)
        if request_id not in self.model.open:
            assert not self.store.workers[worker].extend(request_id, claims, self.now).refused
            return
        more = [claim for claim in claims if claim.row not in self.model.open[request_id]]
        self.check(self.store.workers[worker].extend(request_id, claims, self.now), request_id, more)

    def check(self, admission: Admission, request_id: str, claims: list[Claim]) -> None:
        """All claims are granted if all of them fit, and the levels are those of the model."""
        fits = all(map(self.fits, claims))
        assert (admission.refused is None) == fits
        if fits:
            for claim in claims:
                self.model.remaining(claim, self.now_us)
            self.model.open_request(request_id, claims)
            self.known.append(request_id)
        for claim in claims:
            remaining = max(Fraction(0), self.model.remaining(claim, self.now_us))
            assert admission.levels[claim.row].remaining == remaining // 1

    @precondition(lambda self: self.known)
    @rule(worker=INDEXES, tokens=AMOUNTS, cost=AMOUNTS, rows=st.sampled_from([ROWS, []]), data=st.data())
    def settle(self, worker: int, tokens: int, cost: int, rows: list[str], data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(self.known))
        charged = {LimitKind.RPM: 1, LimitKind.TPM: tokens, LimitKind.BUDGET: cost, LimitKind.CONCURRENT: 1}
        charges = {row: charged[LimitKind(row.rpartition("/")[2])] for row in rows}
        settlement = (request_id, charges, ("complete", cost))
        self.store.workers[worker].settle(request_id, charges, entry_of(request_id, "complete", cost), self.now)
        if any(request_id == other for other, *_ in self.kept[worker]):
            return
        if self.is_locked:
            self.kept[worker].append(settlement)
        else:
            self.write_kept(worker)
            self.model.settle(*settlement, self.now_us)

    @precondition(lambda self: not self.is_locked and self.model.open)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        requests = data.draw(st.lists(st.sampled_from(sorted(self.model.open)), min_size=1, unique=True))
        for request_id in self.store.kill(requests, self.now):
            tokens, claims = self.tokens[request_id], self.model.open[request_id]
            charges = {row: tokens if one.kind == LimitKind.TPM else one.amount for row, one in claims.items()}
            self.model.settle(request_id, charges, ("abandoned", tokens), self.now_us)
        self.write_kept(0)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)

    @precondition(lambda self: not self.is_locked)
    @rule()
    def lock(self) -> None:
        self.is_locked = self.store.lock()

    @precondition(lambda self: self.is_locked)
    @rule()
    def unlock(self) -> None:
        self.store.unlock()
        self.is_locked = False

    @invariant()
    def everything_is_written_down_once(self) -> None:
        if hasattr(self, "store"):
            assert self.store.ledger() == self.model.ledger

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
