"""Claims, and whether they are granted, by plain counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.limits import admission as core
from argoproxy.protocol.limits.admission import CONCURRENT_RETRY_S, charge_abandoned
from argoproxy.protocol.limits.buckets import LATEST_US, MOST_USED, UNITS, UNUSED, Counter, drain_bucket
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind
from argoproxy.protocol.limits.windows import BudgetCalendar

NOW_US = 1_795_400_000_000_000
MINUTE_US = 60_000_000
CALENDAR = BudgetCalendar(lambda now: (2026, 11, 23) if now < 1_795_478_400 else (2026, 11, 24))


def claim(kind: LimitKind, limit: int, amount: int = 1, resets_at: float | None = None) -> Claim:
    return Claim(f"global/{kind}", kind, "global", limit, amount, resets_at)


def decide(
    claims: Sequence[Claim], counters: Mapping[str, Counter], now_us: int
) -> tuple[Admission, dict[str, Counter]]:
    """Return the answer, and the counters after it by their rows."""
    admission = core.decide(claims, [counters.get(one.row, UNUSED) for one in claims], now_us)
    return admission, {one.row: Counter(*after) for one, after in zip(claims, admission.counters, strict=True)}


def settle(
    claims: Sequence[Claim], charges: Mapping[str, int], counters: Mapping[str, Counter], now_us: int
) -> dict[str, Counter]:
    after = core.settle(claims, charges, [counters[one.row] for one in claims], now_us)
    return {one.row: Counter(*counter) for one, counter in zip(claims, after, strict=True)}


@pytest.mark.parametrize("kind", LimitKind)
@pytest.mark.parametrize("amount", [0, 1])
def test_zero_limit(kind: LimitKind, amount: int) -> None:
    admission, _ = decide([claim(kind, 0, amount)], {}, NOW_US)
    assert admission.refused
    assert admission.retry_after_s is None
    assert admission.levels[admission.refused.row].remaining == 0


@pytest.mark.parametrize("kind", LimitKind)
def test_more_than_a_limit_allows_at_all_never_passes(kind: LimitKind) -> None:
    admission, _ = decide([claim(kind, 5, 6, 2e9)], {}, NOW_US)
    assert admission.refused
    assert admission.retry_after_s is None


@pytest.mark.parametrize(
    ("kind", "resets_at", "retry_after_s"),
    [
        (LimitKind.RPM, None, 30.0),
        (LimitKind.TPM, None, 30.0),
        (LimitKind.CONCURRENT, None, CONCURRENT_RETRY_S),
        (LimitKind.BUDGET, NOW_US / 1e6 + 77, 77.0),
        (LimitKind.BUDGET, None, None),
    ],
)
def test_when_to_come_back(kind: LimitKind, resets_at: float | None, retry_after_s: float | None) -> None:
    one = claim(kind, 2, 1, resets_at)
    _, counters = decide([one._replace(amount=2)], {}, NOW_US)
    admission, _ = decide([one], counters, NOW_US)
    assert admission.refused == one
    assert admission.retry_after_s == retry_after_s


def test_the_claim_that_is_granted_last_is_named() -> None:
    soon, later = claim(LimitKind.RPM, 60), claim(LimitKind.TPM, 1)
    never = claim(LimitKind.BUDGET, 1)
    _, counters = decide([soon._replace(amount=60), later, never], {}, NOW_US)
    for claims, refused in (([soon, later], later), ([never, soon, later], never)):
        assert decide(claims, counters, NOW_US)[0].refused == refused


def test_a_refused_request_takes_nothing() -> None:
    open_, full = claim(LimitKind.BUDGET, 10), claim(LimitKind.RPM, 0)
    admission, counters = decide([open_, full], {open_.row: Counter(3)}, NOW_US)
    assert counters[open_.row].used == 3
    assert admission.levels[open_.row].remaining == 7


def test_what_costs_nothing_passes_a_budget_that_is_spent() -> None:
    one = claim(LimitKind.BUDGET, 5, 0)
    assert decide([one], {one.row: Counter(9)}, NOW_US)[0].refused is None


@given(
    st.sampled_from(LimitKind), st.integers(0, 9), st.integers(0, 9), st.integers(0, 30), st.sampled_from((None, 2e9))
)
def test_what_is_refused_is_not_told_to_come_back_at_once(
    kind: LimitKind, limit: int, amount: int, used: int, resets_at: float | None
) -> None:
    one = claim(kind, limit, amount, resets_at)
    counter = Counter(used * UNITS // 3 if kind in (LimitKind.RPM, LimitKind.TPM) else used, NOW_US)
    admission, _ = decide([one], {one.row: counter}, NOW_US)
    assert admission.refused is None or admission.retry_after_s != 0


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**7))
def test_waiting_as_long_as_told_is_exactly_enough(limit: int, amount: int, elapsed_us: int) -> None:
    one = claim(LimitKind.TPM, limit, min(amount, limit))
    _, counters = decide([one._replace(amount=limit)], {}, NOW_US)
    admission, _ = decide([one], counters, NOW_US + elapsed_us)
    wait_us = round((admission.retry_after_s or 0.0) * 1e6)
    assert decide([one], counters, NOW_US + elapsed_us + wait_us)[0].refused is None
    if wait_us:
        assert decide([one], counters, NOW_US + elapsed_us + wait_us - 1)[0].refused == one


def test_levels_tell_when_a_limit_is_full_again() -> None:
    bucket, budget = claim(LimitKind.RPM, 60, 15), claim(LimitKind.BUDGET, 10, 4, NOW_US / 1e6 + 5)
    levels = decide([bucket, budget, claim(LimitKind.CONCURRENT, 2)], {}, NOW_US)[0].levels
    assert [(level.limit, level.remaining, level.full_in_s) for level in levels.values()] == [
        (60, 45, 15.0),
        (10, 6, 5.0),
        (2, 1, 0.0),
    ]


def test_a_part_of_a_token_is_not_left() -> None:
    one = claim(LimitKind.TPM, 10, 1)
    _, counters = decide([one], {}, NOW_US)
    levels = decide([one._replace(amount=0)], counters, NOW_US + 1)[0].levels
    assert levels[one.row].remaining == 9


def test_a_limit_that_was_changed_holds_at_once() -> None:
    one = claim(LimitKind.RPM, 2)
    _, counters = decide([one._replace(amount=2)], {}, NOW_US)
    assert decide([one], counters, NOW_US)[0].refused
    assert decide([one._replace(limit=3)], counters, NOW_US)[0].refused is None
    assert decide([one._replace(limit=1)], counters, NOW_US)[0].retry_after_s == 120.0


def test_settling_charges_what_was_used() -> None:
    claims = [claim(LimitKind.TPM, 100, 60), claim(LimitKind.BUDGET, 100, 60), claim(LimitKind.CONCURRENT, 2)]
    _, counters = decide(claims, {}, NOW_US)
    after = settle(claims, {"global/tpm": 90, "global/budget": 10, "global/concurrent": 1}, counters, NOW_US)
    assert [after[one.row].used for one in claims] == [90 * UNITS, 10, 0]
    after = settle(claims, {}, counters, NOW_US)
    assert [after[one.row].used for one in claims] == [0, 0, 0]


def test_more_than_the_limit_may_be_used_and_is_waited_for() -> None:
    one = claim(LimitKind.TPM, 10, 1)
    _, counters = decide([one], {}, NOW_US)
    after = settle([one], {one.row: 40}, counters, NOW_US)
    admission, _ = decide([one], after, NOW_US)
    assert (admission.retry_after_s, admission.levels[one.row].remaining) == (186.0, 0)


def test_numbers_stay_within_64_bits() -> None:
    for kind in (LimitKind.TPM, LimitKind.BUDGET):
        one = claim(kind, 10, 1)
        _, counters = decide([one], {}, NOW_US)
        assert settle([one], {one.row: 10**30}, counters, NOW_US)[one.row].used == MOST_USED


def test_a_killed_request_is_charged_its_prompt_and_all_of_its_money() -> None:
    claims = [claim(kind, 100, 60) for kind in (LimitKind.TPM, LimitKind.BUDGET)] + [claim(LimitKind.RPM, 9)]
    assert charge_abandoned(claims, 5) == {"global/tpm": 5, "global/budget": 60, "global/rpm": 1}


def test_a_clock_that_was_set_back_drains_nothing_and_blocks_no_longer() -> None:
    full = Counter(60 * UNITS, NOW_US)
    for back_us in (LATEST_US, 3600 * 1_000_000):
        earlier = Counter(*drain_bucket(*full, 60, NOW_US - back_us))
        assert earlier.used == full.used
        assert drain_bucket(*earlier, 60, NOW_US - back_us + MINUTE_US)[0] == 0


def test_a_request_that_waited_for_its_turn_drains_nothing_twice() -> None:
    counter = first = (60 * UNITS, NOW_US)
    for _ in range(1000):
        counter = drain_bucket(*drain_bucket(*counter, 60, NOW_US + 1000), 60, NOW_US)
    assert counter == drain_bucket(*first, 60, NOW_US + 1000)


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(-50_000, 5_000_000), st.integers(1, 10)), max_size=60))
def test_never_more_than_the_burst_and_what_came_back(limit: int, steps: list[tuple[int, int]]) -> None:
    """In any interval the granted amounts are at most the limit, and its rate for the time: also where requests come in
    another order than they read the clock in."""
    now_us, latest_us = NOW_US, 0
    counters: dict[str, Counter] = {}
    granted: list[tuple[int, int]] = []
    for step_us, amount in steps:
        now_us += step_us
        latest_us = max(latest_us, now_us)
        admission, counters = decide([claim(LimitKind.TPM, limit, amount)], counters, now_us)
        if admission.refused is None:
            granted.append((latest_us, amount))
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            total = sum(amount for _, amount in granted[first : last + 1])
            elapsed_us = granted[last][0] - granted[first][0]
            assert total * MINUTE_US <= limit * MINUTE_US + limit * elapsed_us
