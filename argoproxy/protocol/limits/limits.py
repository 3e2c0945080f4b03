"""What is limited, and what a request asks of the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from argoproxy.protocol.limits.buckets import UNITS
from argoproxy.protocol.prices.money import format_amount


class Period(StrEnum):
    """How long a budget lasts: a calendar period, or without end."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class Reserve(StrEnum):
    """Which output is reserved before it is known: what is usual, or the most that there can be."""

    EXPECTED = "expected"
    MAX = "max"


class Unpriced(StrEnum):
    """What becomes of a request under a budget whose model has no known price."""

    REFUSE = "refuse"
    ALLOW = "allow"


class StoreFailure(StrEnum):
    """What becomes of a request that limits hold for while the counters can't be used: it is counted on its host alone,
    if the counters are those of several hosts, or refused, or let through."""

    LOCAL = "local"
    REFUSE = "refuse"
    ALLOW = "allow"


class LimitKind(StrEnum):
    """What a limit counts: requests and tokens a minute, requests at once, money."""

    RPM = "rpm"
    TPM = "tpm"
    CONCURRENT = "concurrent"
    BUDGET = "budget"


#: For each request: a name of a module is found ten times as fast as a member of an enum in Python 3.11.
RPM, TPM, CONCURRENT, BUDGET = LimitKind


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of money, in billionths of the currency's unit, for a period."""

    nanos: int
    period: Period

    def __str__(self) -> str:
        """Return it as operators write it: `5/month`, `0.25/day`."""
        return f"{format_amount(self.nanos)}/{self.period}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a subject; None stands for no limit, 0 lets nothing through. `models` are further limits within it,
    by patterns of models: those of all patterns that match hold. `reserve` is None where the setting for all holds."""

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    budget: Budget | None = None
    models: tuple[tuple[str, Limits], ...] = ()
    reserve: Reserve | None = None

    def __bool__(self) -> bool:
        """Return whether anything is set."""
        return self != NO_LIMITS_SET


NO_LIMITS_SET = Limits()


@dataclass(frozen=True, slots=True)
class LimitedSubject:
    """What limits hold for: `global`, `key:ID`, `team:NAME`, `model:PATTERN`, `key:ID/model:PATTERN`,
    `upstream:NAME`."""

    name: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What holds for all requests. `everyone` is the subject `global`, None without limits. `expect_output` is the
    output, in tokens, that a request is expected to have at most; `zone` names the time zone in which the periods of
    budgets begin."""

    everyone: LimitedSubject | None = None
    reserve: Reserve = Reserve.EXPECTED
    expect_output: int = 1024
    unpriced: Unpriced = Unpriced.REFUSE
    zone: str = "UTC"
    on_store_failure: StoreFailure = StoreFailure.REFUSE


class Claim(NamedTuple):
    """What a request asks of one limit. `row` names the counter: the subject, the kind, and for a budget its period
    (`key:ab12/rpm`, `key:ab12/budget/2026-11`). `limit` and `amount` are requests, tokens or billionths. `resets_at`
    (seconds since 1970) is the end of a budget's period, None if it has none."""

    row: str
    kind: LimitKind
    subject: str
    limit: int
    amount: int
    resets_at: float | None = None


class Level(NamedTuple):
    """How much of a limit is left, and the seconds until all of it is."""

    limit: int
    remaining: int
    full_in_s: float


class Admission(NamedTuple):
    """The answer to claims: all are granted (`refused` is None), or none. `retry_after_s` is None where waiting can't
    help. `counters` are what is used of each of the claims after it, at a moment (microseconds since 1970)."""

    refused: Claim | None = None
    retry_after_s: float | None = None
    claims: Sequence[Claim] = ()
    counters: Sequence[tuple[int, int]] = ()
    now_us: int = 0

    @property
    def levels(self) -> Mapping[str, Level]:
        """How much is left of each limit, by its row."""
        pairs = zip(self.claims, self.counters, strict=True)
        return {claim.row: _level_of(claim, used, self.now_us) for claim, (used, _) in pairs}


def _level_of(claim: Claim, used: int, now_us: int) -> Level:
    limit, is_bucket = claim.limit, claim.kind in (RPM, TPM)
    left = limit - (-(-used // UNITS) if is_bucket else used)
    if is_bucket:
        full_in_s = used / limit / 1e6 if limit else 0.0
    else:
        full_in_s = 0.0 if claim.resets_at is None else max(0.0, claim.resets_at - now_us / 1e6)
    return Level(limit, max(0, left), full_in_s)
