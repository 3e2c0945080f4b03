"""The checks of a storm notice what they should: simulated limits that are exact, lax, strict, or tell a wrong time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.support.client import Answer
from tests.support.storm import Call, assert_never_above, assert_nothing_lost, assert_right_retry_after

LIMIT = 100


def simulate(limit: int, a_minute: float, seconds: float = 20.0, told_ms: float | None = None) -> list[Call]:
    """Return the calls of clients at a token bucket, each admitted at a random moment while it lasts."""
    chance, used, before = random.Random(1), 0.0, 0.0
    calls: list[Call] = []
    for at in sorted(chance.uniform(0, seconds) for _ in range(4000)):
        used, before = max(0.0, used - (at - before) * a_minute / 60), at
        sent, answered = at - chance.random() * 0.05, at + chance.random() * 0.05
        if used + 1 <= limit:
            used += 1
            calls.append(Call(sent, answered, 200))
        else:
            wait_ms = (used + 1 - limit) * 60_000 / a_minute if told_ms is None else told_ms
            headers = [("Retry-After", "1"), ("retry-after-ms", str(wait_ms))]
            calls.append(Call(sent, answered, 429, Answer(429, headers)))
    return calls


def test_an_exact_limit_passes() -> None:
    calls = simulate(LIMIT, LIMIT)
    assert_never_above(calls, LIMIT, LIMIT)
    assert_nothing_lost(calls, LIMIT, LIMIT)
    assert_right_retry_after(calls, LIMIT)


@pytest.mark.parametrize(
    ("calls", "check"),
    [
        (simulate(LIMIT + 3, LIMIT), assert_never_above),
        (simulate(LIMIT, 2 * LIMIT), assert_never_above),
        (simulate(4 * LIMIT, 4 * LIMIT), assert_never_above),
        (simulate(LIMIT - 5, LIMIT), assert_nothing_lost),
        (simulate(LIMIT, LIMIT / 2), assert_nothing_lost),
    ],
)
def test_another_limit_does_not(calls: list[Call], check: Callable[[list[Call], int, float], None]) -> None:
    with pytest.raises(AssertionError):
        check(calls, LIMIT, LIMIT)


@pytest.mark.parametrize("told_ms", [0.0, 700.0, 60_000.0])
def test_a_wrong_time_is_noticed(told_ms: float) -> None:
    with pytest.raises(AssertionError):
        assert_right_retry_after(simulate(LIMIT, LIMIT, told_ms=told_ms), LIMIT)
