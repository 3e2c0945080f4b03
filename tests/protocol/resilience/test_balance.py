"""The order in which the upstreams of a rule are tried."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.resilience.balance import Balance, Balancing, Candidate, order_candidates

NAMES = ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]
FOUR = [Candidate(name) for name in NAMES]
KEYS = [f"session-{number}" for number in range(2000)]


def names_of(candidates: Iterable[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


def weigh(**weights: float) -> list[Candidate]:
    return [Candidate(name, weight) for name, weight in weights.items()]


def no_draw() -> float:
    raise AssertionError("nothing is drawn")


def draw_all(policy: Balance, candidates: Sequence[Candidate], times: int) -> list[list[str]]:
    draw = random.Random(1).random
    return [names_of(order_candidates(policy, candidates, "", draw)) for _ in range(times)]


def rank(key: str, candidates: Sequence[Candidate] = FOUR) -> list[str]:
    return names_of(order_candidates(Balance.STICKY, candidates, key, no_draw))


candidates = st.lists(
    st.builds(
        Candidate,
        st.text(min_size=1),
        st.floats(0.001, 1000),
        st.integers(0, 1000),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda candidate: candidate.name,
)


@given(st.sampled_from(Balance), candidates, st.text(), st.randoms())
def test_every_upstream_is_tried_once(
    policy: Balance, candidates: list[Candidate], key: str, numbers: random.Random
) -> None:
    ordered = order_candidates(policy, candidates, key, numbers.random)
    assert sorted(names_of(ordered)) == sorted(names_of(candidates))


@given(st.sampled_from([policy for policy in Balance if policy is not Balance.ORDERED]), candidates, st.randoms())
def test_what_is_not_available_is_tried_last(
    policy: Balance, candidates: list[Candidate], numbers: random.Random
) -> None:
    ordered = order_candidates(policy, candidates, "key", numbers.random)
    assert [one.is_available for one in ordered] == sorted((one.is_available for one in ordered), reverse=True)


@given(candidates)
def test_ordered_is_the_order_of_the_file(candidates: list[Candidate]) -> None:
    assert order_candidates(Balance.ORDERED, candidates, "", no_draw) == candidates


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("policy", [Balance.WEIGHTED, Balance.LEAST_OPEN])
def test_the_ends_of_what_is_drawn_do_no_harm(policy: Balance, number: float) -> None:
    assert sorted(names_of(order_candidates(policy, FOUR, "", lambda: number))) == NAMES


def test_upstreams_without_a_weight_have_1() -> None:
    balancing = Balancing(Balance.WEIGHTED, {"a": 3})
    assert [balancing.weight_of(name) for name in "ab"] == [3, 1]


def test_weighted_is_by_weight_at_each_place() -> None:
    orders = Counter(map(tuple, draw_all(Balance.WEIGHTED, weigh(a=6, b=3, c=1), 20_000)))
    share = {"".join(order): count / 20_000 for order, count in orders.items()}
    # the first by its weight of 10, the second by its weight of what is left
    expected = {
        "abc": 0.6 * 3 / 4,
        "acb": 0.6 * 1 / 4,
        "bac": 0.3 * 6 / 7,
        "bca": 0.3 * 1 / 7,
        "cab": 0.1 * 6 / 9,
        "cba": 0.1 * 3 / 9,
    }
    assert share == pytest.approx(expected, abs=0.015)


@given(candidates.filter(lambda drawn: all(one.is_available for one in drawn)), st.randoms())
def test_of_the_two_that_are_drawn_the_one_with_less_load_is_first(
    candidates: list[Candidate], numbers: random.Random
) -> None:
    state = numbers.getstate()
    first, *rest = order_candidates(Balance.LEAST_OPEN, candidates, "", numbers.random)
    numbers.setstate(state)
    drawn = order_candidates(Balance.WEIGHTED, candidates, "", numbers.random)
    assert {one.name for one in [first, *rest][:2]} == {one.name for one in drawn[:2]}
    assert rest[1:] == drawn[2:]
    assert all(first.open_streams / first.weight <= one.open_streams / one.weight for one in rest[:1])


def open_streams(weights: dict[str, float], count: int, policy: Balance = Balance.LEAST_OPEN) -> Counter[str]:
    """Return how many of so many streams, begun one after another, each upstream got."""
    draw, opened = random.Random(1).random, Counter(dict.fromkeys(weights, 0))
    for number in range(count):
        now = [Candidate(name, weight, opened[name]) for name, weight in weights.items()]
        opened[order_candidates(policy, now, f"session-{number}", draw)[0].name] += 1
    return opened


def test_least_open_spreads_streams_evenly() -> None:
    opened = open_streams({"a": 1, "b": 1, "c": 1}, 200)
    assert all(0.9 * 200 / 3 <= count <= 1.1 * 200 / 3 for count in opened.values()), opened


def test_least_open_spreads_streams_by_weight() -> None:
    opened = open_streams({"a": 4, "b": 2, "c": 1}, 700)
    assert {name: count / 100 for name, count in opened.items()} == pytest.approx({"a": 4, "b": 2, "c": 1}, rel=0.1)


def test_least_open_asks_none_that_does_not_answer() -> None:
    dead = Candidate("dead", is_available=False)
    busy = [Candidate("a", open_streams=5), Candidate("b", open_streams=6)]
    assert {tuple(order) for order in draw_all(Balance.LEAST_OPEN, [dead, *busy], 100)} == {("a", "b", "dead")}


def test_sticky_sends_a_key_to_the_same_upstream() -> None:
    shuffled = random.Random(1).sample(FOUR, 4)
    assert [rank(key) for key in KEYS] == [rank(key, shuffled) for key in KEYS]


def test_sticky_spreads_keys_evenly() -> None:
    homes = Counter(rank(f"s-{number}")[0] for number in range(10_000))
    assert {name: homes[name] / 10_000 for name in NAMES} == pytest.approx(dict.fromkeys(NAMES, 0.25), abs=0.02)


def test_sticky_spreads_keys_by_weight() -> None:
    homes = Counter(rank(key, weigh(big=3, small=1))[0] for key in KEYS)
    assert homes["big"] / len(KEYS) == pytest.approx(0.75, abs=0.03)


def test_names_that_begin_alike_are_not_alike() -> None:
    assert len({rank(f"session-{number}")[0] for number in (1, 12, 123)}) > 1
    assert {tuple(rank(key)) for key in KEYS[:200]} > {tuple(rank("session-1"))}


@pytest.mark.parametrize("gone", NAMES)
def test_without_an_upstream_only_its_sessions_move_and_they_come_back(gone: str) -> None:
    before = {key: rank(key) for key in KEYS}
    down = [replace(one, is_available=one.name != gone) for one in FOUR]
    removed = [one for one in FOUR if one.name != gone]
    for key, order in before.items():
        expected = [name for name in order if name != gone]
        assert rank(key, removed) == expected
        assert rank(key, down) == [*expected, gone]
    moved = Counter(before[key][1] for key in KEYS if before[key][0] == gone)
    share = sum(moved.values()) / 3
    assert all(0.7 * share < moved[name] < 1.3 * share for name in NAMES if name != gone), moved
    assert {key: rank(key) for key in KEYS} == before


def test_another_weight_moves_sessions_only_to_or_from_its_upstream() -> None:
    heavier = [replace(one, weight=2.0 if one.name == "gpu-2" else 1.0) for one in FOUR]
    for key in KEYS:
        before, after = rank(key)[0], rank(key, heavier)[0]
        assert after in (before, "gpu-2")


def load(*open_streams: int, weights: Sequence[float] = (1, 1, 1, 1)) -> list[Candidate]:
    return [Candidate(*row) for row in zip(NAMES, weights, open_streams, strict=True)]


def passed_over(candidates: list[Candidate]) -> set[str]:
    """Return which upstreams are not tried first for the keys whose home they are."""
    homes = {key: rank(key, [replace(one, open_streams=0) for one in candidates])[0] for key in KEYS}
    moved = {home for key, home in homes.items() if rank(key, candidates)[0] != home}
    assert not any(rank(key, candidates)[0] == home for key, home in homes.items() if home in moved)
    return moved


BOUNDS: dict[str, tuple[list[Candidate], set[str]]] = {
    "no streams": (load(0, 0, 0, 0), set()),
    "one stream": (load(1, 0, 0, 0), set()),
    "two streams": (load(2, 0, 0, 0), set()),
    "two more than others, as many as four streams allow": (load(2, 0, 0, 2), set()),
    "three streams": (load(3, 0, 0, 0), {"gpu-1"}),
    "one more than the mean": (load(3, 2, 2, 1), set()),
    "more than one above the mean": (load(4, 2, 1, 1), {"gpu-1"}),
    "a quarter above the mean of many": (load(125, 91, 92, 92), set()),
    "more than a quarter above the mean": (load(126, 91, 92, 92), {"gpu-1"}),
    "two above it": (load(30, 30, 5, 5), {"gpu-1", "gpu-2"}),
    "much, but by its weight": (load(50, 10, 10, 10, weights=(5, 1, 1, 1)), set()),
    "more than its weight": (load(20, 10, 10, 40, weights=(1, 1, 1, 5)), {"gpu-1"}),
}


@pytest.mark.parametrize(("candidates", "expected"), BOUNDS.values(), ids=BOUNDS)
def test_sticky_passes_over_who_has_far_more_than_a_share(candidates: list[Candidate], expected: set[str]) -> None:
    assert passed_over(candidates) == expected


def test_one_that_does_not_answer_does_not_make_the_others_seem_loaded() -> None:
    """Three of four share all streams, each a third more than a quarter."""
    three = [replace(one, is_available=one.name != "gpu-4") for one in load(8, 8, 8, 0)]
    assert [rank(key, three)[0] for key in KEYS] == [rank(key, FOUR[:3])[0] for key in KEYS]


def test_sticky_keeps_the_load_bounded() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 1.0}
    opened = open_streams(weights, 300, Balance.STICKY)
    assert max(opened.values()) <= 1.25 * 100 + 1


ORDERS = """
import json
from argoproxy.protocol.resilience.balance import Balance, Candidate, order_candidates
names = ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]
ranked = (order_candidates(Balance.STICKY, [*map(Candidate, names)], f"s-{number}", None) for number in range(8))
print(json.dumps(["".join(one.name[-1] for one in order) for order in ranked]))
"""


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_every_process_sends_a_key_to_the_same_upstream(seed: str) -> None:
    """Workers and replicas of several versions run side by side: this order must never change."""
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    found = subprocess.run([sys.executable, "-c", ORDERS], capture_output=True, env=environ, check=True).stdout
    assert json.loads(found) == ["3124", "2413", "4321", "1342", "1324", "2134", "3142", "2431"]
