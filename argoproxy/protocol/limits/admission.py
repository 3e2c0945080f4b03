"""Whether claims are granted, and what becomes of counters: the same for every store, which only keeps the numbers.

A counter is what is used of a limit, and the moment of a bucket (`buckets.py`). Those of claims stand in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from argoproxy.protocol.limits.buckets import MOST_USED, UNITS, drain_bucket, wait_for_us
from argoproxy.protocol.limits.limits import CONCURRENT, RPM, TPM, Admission, Claim

#: When to come back where requests at once are limited: no one knows when one of them ends.
CONCURRENT_RETRY_S = 1.0

_BUCKETS = (RPM, TPM)
Counters = Sequence[tuple[int, int]]


def decide(claims: Sequence[Claim], counters: Counters, now_us: int) -> Admission:
    """Grant all claims or none. If one is refused, the counters after it are those before, up to now. Of several claims
    that are refused the answer names the one that can be granted last."""
    after = []
    for (_, kind, _, limit, amount, _), (used, at_us) in zip(claims, counters, strict=True):
        if kind is RPM or kind is TPM:
            used, at_us = drain_bucket(used, at_us, limit, now_us)
            used += amount * UNITS
            is_granted = used <= limit * UNITS
        else:
            used += amount
            # What costs nothing passes a budget that is spent.
            is_granted = used <= limit or not amount
        # A limit of 0 lets nothing pass, not even that.
        if not (is_granted and limit):
            return _refuse(claims, counters, now_us)
        after.append((used, at_us))
    return Admission(None, None, claims, after, now_us)


def settle(claims: Iterable[Claim], charges: Mapping[str, int], counters: Counters, now_us: int) -> Counters:
    """Replace what was reserved by what is charged; a row that is not named gets all back, and so do requests at once.
    Return the counters after it."""
    after = []
    for (row, kind, _, limit, amount, _), (used, at_us) in zip(claims, counters, strict=True):
        more = (0 if kind is CONCURRENT or row not in charges else charges[row]) - amount
        if kind is RPM or kind is TPM:
            used, at_us = drain_bucket(used, at_us, limit, now_us)
            more *= UNITS
        used += more
        after.append((0 if used < 0 else min(MOST_USED, used), at_us))
    return after


def charge_abandoned(claims: Iterable[Claim], tokens: int) -> dict[str, int]:
    """Return the charges for a request whose worker was killed: the tokens of its prompt, all of the money."""
    return {claim.row: tokens if claim.kind == TPM else claim.amount for claim in claims}


def _refuse(claims: Sequence[Claim], counters: Counters, now_us: int) -> Admission:
    current = [
        drain_bucket(*counter, claim.limit, now_us) if claim.kind in _BUCKETS else counter
        for claim, counter in zip(claims, counters, strict=True)
    ]
    waits = [(_wait_for_s(claim, used, now_us), claim) for claim, (used, _) in zip(claims, current, strict=True)]
    wait_s, refused = max(waits, key=lambda wait: wait[0])
    return Admission(refused, None if wait_s == math.inf else wait_s, claims, current, now_us)


def _wait_for_s(claim: Claim, used: int, now_us: int) -> float:
    """Return the seconds until a claim can be granted: 0 if it can be now, infinity if waiting can't help."""
    if claim.kind in _BUCKETS:
        wait_us = wait_for_us(used, claim.limit, claim.amount)
        return math.inf if wait_us is None else wait_us / 1e6
    if claim.limit and (not claim.amount or used + claim.amount <= claim.limit):
        return 0.0
    if claim.limit == 0 or claim.amount > claim.limit:
        return math.inf
    if claim.kind is CONCURRENT:
        return CONCURRENT_RETRY_S
    return math.inf if claim.resets_at is None else max(1e-6, claim.resets_at - now_us / 1e6)
