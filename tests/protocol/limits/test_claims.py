"""The claims of a request on the limits of the subjects that it concerns."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from argoproxy.protocol.limits import claims as module
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limits import Budget, LimitedSubject, Limits, Period
from argoproxy.protocol.limits.windows import BudgetCalendar

#: 2026-11-23, and the midnight after it.
NOW, MIDNIGHT = 1_795_400_000.0, 1_795_478_400.0
ALL = Limits(rpm=1, tpm=2, concurrent=3, budget=Budget(4, Period.DAY))


@pytest.fixture
def maker() -> ClaimMaker:
    return ClaimMaker(BudgetCalendar(lambda moment: time.gmtime(moment)[:3]))


def rows(maker: ClaimMaker, subject: LimitedSubject, now: float) -> list[tuple[str, int]]:
    return [(one.row, one.limit) for one in maker.make([subject], 1, 1, now)]


def test_a_claim_for_each_limit_of_each_subject(maker: ClaimMaker) -> None:
    everyone = LimitedSubject("global", Limits(budget=Budget(0, Period.TOTAL)))
    subjects = [LimitedSubject("key:a", ALL), everyone, LimitedSubject("team:b", Limits())]
    claims = maker.make(subjects, 50, 60, NOW)
    assert [(one.row, one.subject, one.limit, one.amount, one.resets_at) for one in claims] == [
        ("global/budget/total", "global", 0, 60, None),
        ("key:a/budget/2026-11-23", "key:a", 4, 60, MIDNIGHT),
        ("key:a/concurrent", "key:a", 3, 1, None),
        ("key:a/rpm", "key:a", 1, 1, None),
        ("key:a/tpm", "key:a", 2, 50, None),
    ]


def test_a_request_without_a_price_asks_for_no_money(maker: ClaimMaker) -> None:
    subject = LimitedSubject("global", Limits(budget=Budget(4, Period.TOTAL)))
    assert [one.amount for one in maker.make([subject], 50, None, NOW)] == [0]


def test_each_request_asks_for_its_own_amounts(maker: ClaimMaker) -> None:
    subjects = [LimitedSubject("key:a", ALL)]
    assert [[one.amount for one in maker.make(subjects, n, 10 * n, NOW)] for n in (5, 6)] == [
        [50, 1, 1, 5],
        [60, 1, 1, 6],
    ]


def test_a_budget_has_another_row_in_each_period_also_if_the_clock_is_set_back(maker: ClaimMaker) -> None:
    subject = LimitedSubject("key:a", ALL)
    days = [rows(maker, subject, now)[0][0][-2:] for now in (NOW, MIDNIGHT - 1e-3, MIDNIGHT, NOW, MIDNIGHT)]
    assert days == ["23", "23", "24", "23", "24"]


def test_a_limit_that_was_changed_holds_for_the_next_request(maker: ClaimMaker) -> None:
    before, after = (LimitedSubject("key:a", replace(ALL, rpm=rpm, budget=None)) for rpm in (1, 9))
    assert [rows(maker, one, NOW)[1] for one in (before, after, before)] == [
        ("key:a/rpm", 1),
        ("key:a/rpm", 9),
        ("key:a/rpm", 1),
    ]


def test_of_many_subjects_only_so_many_are_remembered(maker: ClaimMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FORMS", 3)
    for number in range(10):
        subject = LimitedSubject(f"key:{number}", replace(ALL, rpm=number))
        assert rows(maker, subject, NOW)[2] == (f"key:{number}/rpm", number)
