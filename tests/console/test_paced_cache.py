"""What takes long is computed less often."""

from __future__ import annotations

import pytest

from argoproxy.console.paced_cache import KEEP_FACTOR, KEEP_S, MOST_RESULTS, PacedCache


class SlowCounter:
    """Counts its calls, each of which takes a while."""

    def __init__(self, takes_s: float) -> None:
        self.now, self.calls, self._takes_s = 0.0, 0, takes_s

    def clock(self) -> float:
        return self.now

    def __call__(self) -> int:
        self.now += self._takes_s
        self.calls += 1
        return self.calls


@pytest.mark.parametrize(("takes_s", "kept_s"), [(0.0, KEEP_S), (1.0, KEEP_FACTOR)])
def test_a_result_is_kept_as_long_as_it_is_worth(takes_s: float, kept_s: float) -> None:
    counter = SlowCounter(takes_s)
    cache = PacedCache[int](counter.clock)
    assert cache.find("a", counter) == 1
    ended = counter.now
    counter.now = ended + kept_s - 0.1
    assert cache.find("a", counter) == 1
    counter.now = ended + kept_s
    assert cache.find("a", counter) == 2


def test_each_question_has_its_own_result() -> None:
    counter = SlowCounter(0.0)
    cache = PacedCache[int](counter.clock)
    assert [cache.find(question, counter) for question in "abab"] == [1, 2, 1, 2]


def test_only_some_results_are_kept() -> None:
    counter = SlowCounter(0.0)
    cache = PacedCache[int](counter.clock)
    for question in range(MOST_RESULTS + 1):
        cache.find(question, counter)
    assert cache.find(0, counter) == MOST_RESULTS + 2


def test_a_failure_is_not_kept() -> None:
    cache = PacedCache[int]()

    def fail() -> int:
        raise KeyError("a")

    with pytest.raises(KeyError):
        cache.find("a", fail)
    assert cache.find("a", lambda: 1) == 1
