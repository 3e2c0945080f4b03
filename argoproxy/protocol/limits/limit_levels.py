"""How much of limits is used, by the counters that the workers write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from argoproxy.protocol.limits.buckets import UNITS, UNUSED, Counter, drain_bucket
from argoproxy.protocol.limits.limits import LimitedSubject, LimitKind, Limits, Period
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.protocol.prices.money import to_number

_MICROSECONDS = 1_000_000

#: Returns those counters that there are, by their rows.
ReadCounters = Callable[[Sequence[str]], Mapping[str, Counter]]


class LimitLevel(TypedDict):
    """A limit of a subject (`key:ID`, `team:NAME`, `model:PATTERN`, `upstream:NAME`, `global`), and what is left of it:
    requests and tokens a minute, requests at once, or money. `models` is the pattern that it holds for, "" for all."""

    subject: str
    models: str
    kind: str
    limit: float
    used: float
    left: float
    period: str
    resets_at: float | None


@dataclass(frozen=True, slots=True)
class LimitReader:
    """The counters at a moment (seconds since 1970), by their rows; `calendar` tells the periods of budgets."""

    counters: Mapping[str, Counter]
    calendar: BudgetCalendar
    now: float

    def levels(self, subject: LimitedSubject) -> list[LimitLevel]:
        """Return the levels of a subject's limits, and of those within it for models."""
        return [level for holder in _holders(subject) for level in self._levels(*holder)]

    def with_counters(self, read: ReadCounters, subjects: Iterable[LimitedSubject]) -> LimitReader:
        """Return this with the counters of some subjects, read from where they are. Raises StateUnavailable."""
        rows = [row for subject in subjects for row in self._rows(subject)]
        return replace(self, counters=read(rows) if rows else {})

    def _rows(self, subject: LimitedSubject) -> Iterator[str]:
        """Yield the rows of the counters of a subject's limits."""
        for name, _, limits in _holders(subject):
            set_here = zip(LimitKind, (limits.rpm, limits.tpm, limits.concurrent), strict=False)
            yield from (f"{name}/{kind}" for kind, limit in set_here if limit is not None)
            if limits.budget is not None:
                yield self._budget_row(name, limits.budget.period)[0]

    def _budget_row(self, name: str, period: Period) -> tuple[str, float | None]:
        """Return the row of a budget's counter in this period, and when that ends."""
        window = self.calendar.window(period, self.now)
        return f"{name}/{LimitKind.BUDGET}/{window.name}", window.ends_at

    def _levels(self, name: str, models: str, limits: Limits) -> Iterator[LimitLevel]:
        for kind, limit in ((LimitKind.RPM, limits.rpm), (LimitKind.TPM, limits.tpm)):
            if limit is not None:
                yield _make_level(name, models, kind, limit, self._bucket(f"{name}/{kind}", limit))
        if limits.concurrent is not None:
            used = self._counter(f"{name}/{LimitKind.CONCURRENT}").used
            yield _make_level(name, models, LimitKind.CONCURRENT, limits.concurrent, used)
        if limits.budget is not None:
            row, ends_at = self._budget_row(name, limits.budget.period)
            used = self._counter(row).used
            level = _make_level(name, models, LimitKind.BUDGET, to_number(limits.budget.nanos), to_number(used))
            yield {**level, "period": str(limits.budget.period), "resets_at": ends_at}

    def _bucket(self, row: str, limit: int) -> float:
        """Return how many requests or tokens of the last minute a bucket holds."""
        used, _ = drain_bucket(*self._counter(row), limit, int(self.now * _MICROSECONDS))
        return round(used / UNITS, 1)

    def _counter(self, row: str) -> Counter:
        return self.counters.get(row, UNUSED)


def _holders(subject: LimitedSubject) -> Iterator[tuple[str, str, Limits]]:
    """Yield what limits hold for: the name of the counters, the pattern of models ("" for all), the limits."""
    yield subject.name, "", subject.limits
    for pattern, limits in subject.limits.models:
        yield f"{subject.name}/model:{pattern}", pattern, limits


def _make_level(name: str, models: str, kind: LimitKind, limit: float, used: float) -> LimitLevel:
    return {
        "subject": name,
        "models": models,
        "kind": str(kind),
        "limit": limit,
        "used": used,
        "left": round(max(0.0, limit - used), 9),
        "period": "minute" if kind in (LimitKind.RPM, LimitKind.TPM) else "",
        "resets_at": None,
    }
