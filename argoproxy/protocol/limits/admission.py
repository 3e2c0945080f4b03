"""Whether claims are granted, and what becomes of counters: the same for every store, which only keeps the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from argoproxy.protocol.limits.buckets import (
    MOST_USED,
    UNITS,
    UNUSED,
    Counter,
    drain_bucket,
    wait_for_us,
)
from argoproxy.protocol.limits.limits import CONCURRENT, RPM, TPM, Admission, Claim, Level, LimitKind

#: When to come back where requests at once are limited: no one knows when one of them ends.
CONCURRENT_RETRY_S = 1.0

_BUCKETS = (RPM, TPM)
Counters = Mapping[str, Counter]


def decide(claims: Sequence[Claim], counters: Counters, now_us: int) -> tuple[Admission, dict[str, Counter]]:
    """Grant all claims or none. Return the answer and the counters after it; they are those before, up to now, if a
    claim was refused. Counters that are missing are unused. Of several claims that are refused the answer names the one
    that can be granted last."""
    after, levels = {}, {}
    for claim in claims:
        granted = _grant(claim, counters.get(claim.row, UNUSED), now_us)
        if granted is None:
            return _refuse(claims, counters, now_us)
        after[claim.row], levels[claim.row] = granted
    return Admission(levels=levels), after


def _grant(claim: Claim, counter: Counter, now_us: int) -> tuple[Counter, Level] | None:
    """Return the counter with a claim, and how much is left of the limit then; None if the claim must wait."""
    used, at_us = _bring_up_to(claim, counter, now_us)
    if _wait_for_s(claim, used, now_us):
        return None
    used = _add(claim.kind, used, claim.amount)
    return Counter(used, at_us), level_of(claim, used, now_us)


def _refuse(claims: Sequence[Claim], counters: Counters, now_us: int) -> tuple[Admission, dict[str, Counter]]:
    current = {claim.row: _bring_up_to(claim, counters.get(claim.row, UNUSED), now_us) for claim in claims}
    wait_s, refused = max(
        ((_wait_for_s(claim, current[claim.row].used, now_us), claim) for claim in claims), key=lambda wait: wait[0]
    )
    levels = {claim.row: level_of(claim, current[claim.row].used, now_us) for claim in claims}
    return Admission(refused, None if wait_s == math.inf else wait_s, levels), current


def settle(claims: Iterable[Claim], charges: Mapping[str, int], counters: Counters, now_us: int) -> dict[str, Counter]:
    """Replace what was reserved by what is charged; a row that is not named gets all back, and so do requests at once.
    Return the counters after it: counters that are missing stay so."""
    after = {}
    for claim in claims:
        counter = counters.get(claim.row)
        if counter is not None:
            used, at_us = _bring_up_to(claim, counter, now_us)
            after[claim.row] = Counter(_add(claim.kind, used, _charge_for(claim, charges) - claim.amount), at_us)
    return after


def charge_abandoned(claims: Iterable[Claim], tokens: int) -> dict[str, int]:
    """Return the charges for a request whose worker was killed: the tokens of its prompt, all of the money."""
    return {claim.row: tokens if claim.kind == TPM else claim.amount for claim in claims}


def level_of(claim: Claim, used: int, now_us: int) -> Level:
    """Return how much is left of a limit, by what is used of it now."""
    limit, is_bucket = claim.limit, claim.kind in _BUCKETS
    left = limit - (-(-used // UNITS) if is_bucket else used)
    if is_bucket:
        full_in_s = used / limit / 1e6 if limit else 0.0
    else:
        full_in_s = 0.0 if claim.resets_at is None else max(0.0, claim.resets_at - now_us / 1e6)
    return Level(limit, max(0, left), full_in_s)


def _bring_up_to(claim: Claim, counter: Counter, now_us: int) -> Counter:
    return drain_bucket(counter, claim.limit, now_us) if claim.kind in _BUCKETS else counter


def _wait_for_s(claim: Claim, used: int, now_us: int) -> float:
    """Return the seconds until a claim can be granted: 0 if it can be now, infinity if waiting can't help."""
    if claim.kind in _BUCKETS:
        wait_us = wait_for_us(used, claim.limit, claim.amount)
        return math.inf if wait_us is None else wait_us / 1e6
    # What costs nothing passes a budget that is spent, but not one of nothing.
    is_free = claim.amount == 0 and claim.limit > 0
    if is_free or used + (claim.amount or 1) <= claim.limit:
        return 0.0
    if claim.limit == 0 or claim.amount > claim.limit:
        return math.inf
    if claim.kind is CONCURRENT:
        return CONCURRENT_RETRY_S
    return math.inf if claim.resets_at is None else max(1e-6, claim.resets_at - now_us / 1e6)


def _add(kind: LimitKind, used: int, amount: int) -> int:
    """Return what is used when an amount is added, or taken away if it is negative."""
    used += amount * UNITS if kind in _BUCKETS else amount
    return 0 if used < 0 else min(used, MOST_USED)


def _charge_for(claim: Claim, charges: Mapping[str, int]) -> int:
    return 0 if claim.kind is CONCURRENT else charges.get(claim.row, 0)
