"""A LimitStore in the memory of one process, for tests: what any store has to do, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argoproxy.protocol.limits.admission import charge_abandoned, decide, settle
from argoproxy.protocol.limits.buckets import UNUSED, Counter
from argoproxy.protocol.limits.limits import Admission, Claim
from argoproxy.stores.limit_store import LedgerEntry, Reservation


class MemoryLimits:
    """`ledger` has the entries by request id."""

    is_up = True

    def __init__(self) -> None:
        self.ledger: dict[str, LedgerEntry] = {}
        self._counters: dict[str, Counter] = {}
        self._open: dict[str, Reservation] = {}

    def admit(self, reservation: Reservation, now: float) -> Admission:
        admission = self._claim(reservation.claims, now)
        if not admission.refused:
            self._open[reservation.if_abandoned.request_id] = reservation
        return admission

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        reservation = self._open.get(request_id)
        if reservation is None:
            return Admission()
        rows = {claim.row for claim in reservation.claims}
        more = [claim for claim in claims if claim.row not in rows]
        admission = self._claim(more, now)
        if not admission.refused:
            self._open[request_id] = reservation._replace(claims=[*reservation.claims, *more])
        return admission

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        reservation = self._open.pop(request_id, None)
        if reservation is not None:
            claims = reservation.claims
            self._keep(claims, settle(claims, charges, self._read(claims), int(now * 1e6)))
        if entry is not None:
            self.ledger.setdefault(request_id, entry)

    def abandon(self, request_id: str, now: float) -> None:
        """Settle a request as one whose worker was killed."""
        reservation = self._open[request_id]
        charges = charge_abandoned(reservation.claims, reservation.abandoned_tokens)
        self.settle(request_id, charges, reservation.if_abandoned, now)

    def close(self) -> None:
        """Nothing is open."""

    def _claim(self, claims: Sequence[Claim], now: float) -> Admission:
        admission = decide(claims, self._read(claims), int(now * 1e6))
        if not admission.refused:
            self._keep(claims, admission.counters)
        return admission

    def _read(self, claims: Sequence[Claim]) -> list[Counter]:
        return [self._counters.get(claim.row, UNUSED) for claim in claims]

    def _keep(self, claims: Sequence[Claim], counters: Sequence[tuple[int, int]]) -> None:
        for claim, counter in zip(claims, counters, strict=True):
            self._counters[claim.row] = Counter(*counter)
