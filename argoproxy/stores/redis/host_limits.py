"""What a host counts for itself while the counters of all replicas can't be used: its share of each limit.

Limits a minute and of requests at once are divided by the number of replicas. Of a budget a host may spend its share of
what was left when the shared counters were last seen; a budget that this worker has not seen is not spent from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.buckets import MOST_USED
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind, StoreFailure
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.redis.kept_settlements import KeptSettlements
from argoproxy.stores.redis.redis_limits import LateSettlement, dump_claims
from argoproxy.stores.sqlite_file import errors_as_unavailable, make_folder

#: When to come back where a request is larger than the share of this host, but not than the limit.
SHARE_RETRY_S = 2.0
_REFUSED = "such requests are refused until the shared counters can be used"
#: Budgets that a worker remembers, and that it asks for at once.
_MOST_KNOWN = 10_000
_AT_ONCE = 500
#: In place of a limit that is not asked.
_ANY_NUMBER, _ANY_MONEY = 1_000_000_000, MOST_USED // 2


@dataclass(frozen=True, slots=True)
class FailureRules:
    """What holds while the shared counters can't be used: for limits, for budgets, among how many replicas limits are
    divided, and for how many seconds budgets are spent from."""

    limits: StoreFailure
    budgets: StoreFailure
    replicas: int
    grace_s: float


class Reserved(NamedTuple):
    """What a request asks for."""

    request_id: str
    claims: Sequence[Claim]
    tokens: int


class KnownBudget(NamedTuple):
    """What was known last of a budget."""

    limit: int
    used: int


class HostLimits:
    """The counters of this host, in a folder that is created with the first of them."""

    def __init__(self, folder: Path, rules: FailureRules, kept: KeptSettlements) -> None:
        self._folder, self._rules, self._kept = folder, rules, kept
        self._counters: LocalLimits | None = None
        self._claims: dict[str, Sequence[Claim]] = {}
        self._budgets: dict[str, KnownBudget] = {}

    def note_levels(self, admission: Admission) -> None:
        """Remember what is left of budgets by the shared counters."""
        for claim, (used, _) in zip(admission.claims, admission.counters, strict=True):
            if claim.kind is LimitKind.BUDGET:
                if len(self._budgets) >= _MOST_KNOWN:
                    self._budgets.clear()
                self._budgets[claim.row] = KnownBudget(claim.limit, min(used, claim.limit))

    def refresh(self, read_used: Callable[[Sequence[str]], Mapping[str, int]]) -> None:
        """Read again what is used of the budgets that are known. Raises StateUnavailable."""
        rows = list(self._budgets)
        for begin in range(0, len(rows), _AT_ONCE):
            for row, used in read_used(rows[begin : begin + _AT_ONCE]).items():
                known = self._budgets.get(row)
                if known is not None:
                    self._budgets[row] = KnownBudget(known.limit, used)

    def admit(self, reserved: Reserved, down_s: float, now: float) -> Admission:
        """Grant all claims within the share of this host, or none; `down_s` is for how many seconds the shared counters
        could not be used. Raises StateUnavailable where requests are refused meanwhile."""
        request_id, claims, tokens = reserved
        own = self._share_of(claims, down_s)
        # No ledger is kept here: nothing of the entry is read.
        entry = LedgerEntry(request_id, now, "", "", "", "", "")
        admission = self._open().admit(Reservation(own, entry, tokens), now)
        if admission.refused is None:
            self._claims[request_id] = claims
            return admission
        refused = next(claim for claim in claims if claim.row == admission.refused.row)
        return admission._replace(refused=refused, retry_after_s=_retry_after(refused, admission.retry_after_s))

    def settle(self, request_id: str, charges: Mapping[str, int], now: float) -> LateSettlement:
        """Charge a request; return what the shared counters have to learn of it."""
        claims = self._claims.pop(request_id, ())
        own = {claim.row: charges[claim.row] for claim in claims if claim.row in charges}
        self._open().settle(request_id, own, None, now)
        return LateSettlement(request_id, dump_claims(claims), own, is_admitted=False)

    def close(self) -> None:
        """Close what is open."""
        if self._counters is not None:
            self._counters.close()

    def _share_of(self, claims: Sequence[Claim], down_s: float) -> list[Claim]:
        has_budget = any(claim.kind is LimitKind.BUDGET for claim in claims)
        delivered = self._kept.sum_delivered() if has_budget else {}
        return [self._share(claim, down_s, delivered.get(claim.row, 0)) for claim in claims]

    def _share(self, claim: Claim, down_s: float, delivered: int) -> Claim:
        """Return a claim on the share of this host. What has been delivered of a budget is in the counter of this host
        as well as in the shared one."""
        is_budget = claim.kind is LimitKind.BUDGET
        rule = self._rules.budgets if is_budget else self._rules.limits
        if rule is StoreFailure.ALLOW:
            return claim._replace(limit=_ANY_MONEY if is_budget else _ANY_NUMBER)
        if rule is StoreFailure.REFUSE:
            raise StateUnavailable(f"The limits can't be checked now: {_REFUSED}.")
        if not is_budget:
            return claim._replace(limit=min(claim.limit, max(1, claim.limit // self._rules.replicas)))
        known = self._budgets.get(claim.row)
        if known is None or down_s > self._rules.grace_s:
            raise StateUnavailable(f"The limits can't be checked now: {_REFUSED}.")
        left = max(0, min(claim.limit, known.limit) - known.used)
        return claim._replace(limit=left // self._rules.replicas + delivered)

    def _open(self) -> LocalLimits:
        if self._counters is None:
            with errors_as_unavailable():
                make_folder(self._folder)
            self._counters = _open_counters(self._folder)
        return self._counters


@lru_cache(maxsize=8)
def _open_counters(folder: Path) -> LocalLimits:
    """Return the counters in a folder, also after a reload of the settings: a process uses each file but once."""
    return LocalLimits(folder)


def _retry_after(claim: Claim, retry_after_s: float | None) -> float | None:
    """Return when a claim may be granted that the share of this host does not allow."""
    is_possible = claim.kind is not LimitKind.BUDGET and claim.limit > 0 and claim.amount <= claim.limit
    return SHARE_RETRY_S if retry_after_s is None and is_possible else retry_after_s
