"""What is limited, and what a request asks of the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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


class LimitKind(StrEnum):
    """What a limit counts: requests and tokens a minute, requests at once, money."""

    RPM = "rpm"
    TPM = "tpm"
    CONCURRENT = "concurrent"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of money, in billionths of the currency's unit, for a period."""

    nanos: int
    period: Period


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a subject; None stands for no limit, 0 lets nothing through. `models` are further limits within it,
    by patterns of models. `reserve` is None where the setting for all holds."""

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    budget: Budget | None = None
    models: tuple[tuple[str, Limits], ...] = ()
    reserve: Reserve | None = None


@dataclass(frozen=True, slots=True)
class LimitedSubject:
    """What limits hold for: `global`, `key:ID`, `team:NAME`, `model:PATTERN`, `key:ID/model:PATTERN`,
    `upstream:NAME`."""

    name: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for: tokens, and their price in billionths (None: the model has no known price)."""

    tokens: int
    cost_nanos: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks of one limit. `row` names the counter: the subject, the kind, and for a budget its period
    (`key:ab12/rpm`, `key:ab12/budget/2026-11`). `limit` and `amount` are requests, tokens or billionths. `resets_at`
    (seconds since 1970) is the end of a budget's period, None if it has none."""

    row: str
    kind: LimitKind
    subject: str
    limit: int
    amount: int
    resets_at: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is left, and the seconds until all of it is."""

    limit: int
    remaining: int
    full_in_s: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to claims: all are granted (`refused` is None), or none. `retry_after_s` is None where waiting can't
    help. `levels` are those after it, by row."""

    refused: Claim | None = None
    retry_after_s: float | None = None
    levels: dict[str, Level] = field(default_factory=dict)
