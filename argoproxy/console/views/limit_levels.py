"""How much of limits is used, by the counters that the workers write; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from argoproxy.console.views.view_shapes import LimitLevel
from argoproxy.protocol.limits.buckets import UNITS, UNUSED, Counter, drain_bucket
from argoproxy.protocol.limits.limits import LimitedSubject, LimitKind, Limits
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.protocol.prices.money import to_number

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class LimitReader:
    """The counters at a moment (seconds since 1970), by their rows; `calendar` tells the periods of budgets."""

    counters: Mapping[str, Counter]
    calendar: BudgetCalendar
    now: float

    def levels(self, subject: LimitedSubject) -> list[LimitLevel]:
        """Return the levels of a subject's limits, and of those within it for models."""
        within = ((f"{subject.name}/model:{pattern}", pattern, limits) for pattern, limits in subject.limits.models)
        holders = ((subject.name, "", subject.limits), *within)
        return [level for name, models, limits in holders for level in self._levels(name, models, limits)]

    def _levels(self, name: str, models: str, limits: Limits) -> Iterator[LimitLevel]:
        for kind, limit in ((LimitKind.RPM, limits.rpm), (LimitKind.TPM, limits.tpm)):
            if limit is not None:
                yield _make_level(name, models, kind, limit, self._bucket(f"{name}/{kind}", limit))
        if limits.concurrent is not None:
            used = self._counter(f"{name}/{LimitKind.CONCURRENT}").used
            yield _make_level(name, models, LimitKind.CONCURRENT, limits.concurrent, used)
        if limits.budget is not None:
            window = self.calendar.window(limits.budget.period, self.now)
            used = self._counter(f"{name}/{LimitKind.BUDGET}/{window.name}").used
            level = _make_level(name, models, LimitKind.BUDGET, to_number(limits.budget.nanos), to_number(used))
            yield {**level, "period": str(limits.budget.period), "resets_at": window.ends_at}

    def _bucket(self, row: str, limit: int) -> float:
        """Return how many requests or tokens of the last minute a bucket holds."""
        drained = drain_bucket(self._counter(row), limit, int(self.now * _MICROSECONDS))
        return round(drained.used / UNITS, 1)

    def _counter(self, row: str) -> Counter:
        return self.counters.get(row, UNUSED)


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
