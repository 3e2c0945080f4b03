"""What any store of counters offers; the SQLite file of one host is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from argoproxy.protocol.limits.limits import Admission, Claim


class LedgerEntry(NamedTuple):
    """What is written down of a request. Costs are billionths of the currency's unit, None if the price is not known.
    Tokens are None if they are not known."""

    request_id: str
    at: float
    key_id: str
    key_name: str
    team: str
    model: str
    upstream: str
    ending: str = "abandoned"
    status: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_nanos: int | None = None
    is_estimated: bool = False


class Reservation(NamedTuple):
    """What a request asks for before it is sent. `if_abandoned` is charged and written down if the worker dies with it:
    the estimated prompt in tokens, the full reservation in money."""

    claims: Sequence[Claim]
    if_abandoned: LedgerEntry
    abandoned_tokens: int


class LimitStore(Protocol):
    """Counters and the ledger, exact for all workers that share it."""

    @property
    def is_up(self) -> bool:
        """Whether it could be used last time."""

    def admit(self, reservation: Reservation, now: float) -> Admission:
        """Grant all claims of a request or none, in one step, and remember it until it is settled. Without claims it is
        remembered for the ledger alone. Raises StateUnavailable."""

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        """Grant more claims to a request that was admitted: another upstream is tried. Raises StateUnavailable."""

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        """Replace what a request reserved by what it is charged: the amount for each row of its claims, in the unit of
        the claim; a row that is not named gets all back, and so does each of requests at once. Write the entry down, if
        there is one. Once by request id: a second call does nothing. One that was never admitted, because the store was
        in trouble, has its entry written all the same. Never raises for a store in trouble: what can't be written is
        kept and written with a later call."""

    def close(self) -> None:
        """Close what is open."""
