"""What a request asks of the limits of all subjects that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from argoproxy.protocol.limits.limits import BUDGET, CONCURRENT, RPM, TPM, Claim, Demand, LimitedSubject
from argoproxy.protocol.limits.windows import BudgetCalendar


def make_claims(
    subjects: Iterable[LimitedSubject], demand: Demand, calendar: BudgetCalendar, now: float
) -> tuple[Claim, ...]:
    """Return a claim for each limit of each subject, sorted by row. A request without a known price asks for nothing of
    a budget: whether it may is decided before."""
    claims: list[Claim] = []
    for subject in subjects:
        claims += _claims_of(subject, demand, calendar, now)
    claims.sort()
    return tuple(claims)


def has_budget(claims: Sequence[Claim]) -> bool:
    """Return whether a budget is among the limits."""
    return any(claim.kind == BUDGET for claim in claims)


def _claims_of(subject: LimitedSubject, demand: Demand, calendar: BudgetCalendar, now: float) -> Iterator[Claim]:
    name, limits = subject.name, subject.limits
    if limits.rpm is not None:
        yield Claim(f"{name}/rpm", RPM, name, limits.rpm, 1)
    if limits.tpm is not None:
        yield Claim(f"{name}/tpm", TPM, name, limits.tpm, demand.tokens)
    if limits.concurrent is not None:
        yield Claim(f"{name}/concurrent", CONCURRENT, name, limits.concurrent, 1)
    if limits.budget is not None:
        window = calendar.window(limits.budget.period, now)
        row, cost_nanos = f"{name}/budget/{window.name}", demand.cost_nanos or 0
        yield Claim(row, BUDGET, name, limits.budget.nanos, cost_nanos, window.ends_at)
