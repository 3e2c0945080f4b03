"""What a request asks of the limits of all subjects that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from argoproxy.protocol.limits.limits import Claim, Demand, LimitedSubject, LimitKind
from argoproxy.protocol.limits.windows import BudgetCalendar


def make_claims(
    subjects: Iterable[LimitedSubject], demand: Demand, calendar: BudgetCalendar, now: float
) -> tuple[Claim, ...]:
    """Return a claim for each limit of each subject, sorted by row. A request without a known price asks for nothing of
    a budget: whether it may is decided before."""
    claims = (claim for subject in subjects for claim in _claims_of(subject, demand, calendar, now))
    return tuple(sorted(claims, key=lambda claim: claim.row))


def has_budget(claims: Sequence[Claim]) -> bool:
    """Return whether a budget is among the limits."""
    return any(claim.kind == LimitKind.BUDGET for claim in claims)


def _claims_of(subject: LimitedSubject, demand: Demand, calendar: BudgetCalendar, now: float) -> Iterator[Claim]:
    name, limits = subject.name, subject.limits
    amounts = (
        (LimitKind.RPM, limits.rpm, 1),
        (LimitKind.TPM, limits.tpm, demand.tokens),
        (LimitKind.CONCURRENT, limits.concurrent, 1),
    )
    for kind, limit, amount in amounts:
        if limit is not None:
            yield Claim(f"{name}/{kind}", kind, name, limit, amount)
    if limits.budget is not None:
        kind, window = LimitKind.BUDGET, calendar.window(limits.budget.period, now)
        row, cost_nanos = f"{name}/{kind}/{window.name}", demand.cost_nanos or 0
        yield Claim(row, kind, name, limits.budget.nanos, cost_nanos, window.ends_at)
