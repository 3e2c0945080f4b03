"""What a request asks of the limits of all subjects that it concerns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from argoproxy.protocol.limits.limits import BUDGET, CONCURRENT, RPM, TPM, Claim, LimitedSubject, LimitKind
from argoproxy.protocol.limits.windows import BudgetCalendar

#: Combinations of subjects whose claims are remembered: a key is one with each model that has limits.
MOST_FORMS = 4096

#: Without the function in Python that a NamedTuple is made by.
_new_claim = partial(tuple.__new__, Claim)


class ClaimForm(NamedTuple):
    """A claim without the amount: see Claim."""

    row: str
    kind: LimitKind
    subject: str
    limit: int
    resets_at: float | None = None


class _Forms(NamedTuple):
    """The claims on the limits of some subjects, for requests at `begins_at` and later, before `ends_at`: the period of
    a budget is part of its row."""

    subjects: Sequence[LimitedSubject]
    claims: Sequence[ClaimForm]
    begins_at: float
    ends_at: float


class ClaimMaker:
    """Makes claims. Those of the same subjects have all but the amounts in common, which is remembered."""

    def __init__(self, calendar: BudgetCalendar) -> None:
        self._calendar = calendar
        #: By the names and the identities of limits: those are kept too, or others could get the same identity.
        self._known: dict[tuple[tuple[str, int], ...], _Forms] = {}

    def make(
        self, subjects: Sequence[LimitedSubject], tokens: int, cost_nanos: int | None, now: float
    ) -> tuple[Claim, ...]:
        """Return a claim for each limit of each subject, sorted by row. A request without a known price (None) asks for
        nothing of a budget: whether it may is decided before."""
        key = tuple([(one.name, id(one.limits)) for one in subjects])
        forms = self._known.get(key)
        if forms is None or not forms.begins_at <= now < forms.ends_at:
            forms = self._learn(key, subjects, now)
        amounts = {RPM: 1, TPM: tokens, CONCURRENT: 1, BUDGET: cost_nanos or 0}
        claims = forms.claims
        return tuple([_new_claim((row, kind, name, most, amounts[kind], end)) for row, kind, name, most, end in claims])

    def _learn(self, key: tuple[tuple[str, int], ...], subjects: Sequence[LimitedSubject], now: float) -> _Forms:
        if len(self._known) >= MOST_FORMS:
            self._known.clear()
        claims = sorted(form for subject in subjects for form in _forms_of(subject, self._calendar, now))
        ends = [form.resets_at for form in claims if form.resets_at is not None]
        forms = self._known[key] = _Forms(tuple(subjects), claims, now, min(ends, default=math.inf))
        return forms


def _forms_of(subject: LimitedSubject, calendar: BudgetCalendar, now: float) -> Iterator[ClaimForm]:
    name, limits = subject.name, subject.limits
    if limits.rpm is not None:
        yield ClaimForm(f"{name}/rpm", RPM, name, limits.rpm)
    if limits.tpm is not None:
        yield ClaimForm(f"{name}/tpm", TPM, name, limits.tpm)
    if limits.concurrent is not None:
        yield ClaimForm(f"{name}/concurrent", CONCURRENT, name, limits.concurrent)
    if limits.budget is not None:
        window = calendar.window(limits.budget.period, now)
        yield ClaimForm(f"{name}/budget/{window.name}", BUDGET, name, limits.budget.nanos, window.ends_at)
