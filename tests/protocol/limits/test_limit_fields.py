"""Limits as operators write them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.limits.limit_fields import (
    MOST,
    MOST_PATTERNS,
    change_limit,
    find_changed_limits,
    format_limits,
    join_models,
    make_limits,
    parse_budget,
    parse_count,
    parse_limits,
    parse_model_limits,
    parse_reserve,
)
from argoproxy.protocol.limits.limits import NO_LIMITS_SET, Budget, Limits, Period, Reserve

BILLION = 10**9

counts = st.none() | st.integers(0, MOST)
budgets = st.none() | st.builds(Budget, st.integers(0, BILLION * BILLION), st.sampled_from(Period))
plain = st.builds(Limits, counts, counts, counts, budgets)
patterns = st.text(min_size=1, max_size=20).filter(lambda text: text == text.strip() and text.isprintable())
limits_of_all_kinds = st.builds(
    lambda one, models, reserve: Limits(one.rpm, one.tpm, one.concurrent, one.budget, tuple(models.items()), reserve),
    plain,
    st.dictionaries(patterns, plain.filter(bool), max_size=3),
    st.none() | st.sampled_from(Reserve),
)


@given(limits_of_all_kinds)
def test_what_is_written_is_read_again(limits: Limits) -> None:
    written = json.loads(json.dumps(format_limits(limits)))
    assert parse_limits(written) == limits
    assert bool(limits) == bool(written)


@given(limits_of_all_kinds, limits_of_all_kinds)
def test_changes_are_made_over_what_is_there(before: Limits, after: Limits) -> None:
    """Model: RFC 7396, JSON merge patch."""
    changed = before
    for name, value in format_limits(after).items():
        changed = change_limit(changed, name, value)
    merged = {**format_limits(before), **format_limits(after)}
    models = [format_limits(limits).get("model_limits", {}) for limits in (before, after)]
    if any(models):
        names = {**models[0], **models[1]}
        merged["model_limits"] = {name: {**models[0].get(name, {}), **models[1].get(name, {})} for name in names}
    assert format_limits(changed) == merged
    assert set(find_changed_limits(before, changed)) <= format_limits(after).keys()
    for name in format_limits(changed):
        changed = change_limit(changed, name, None)
    assert changed == NO_LIMITS_SET


def test_numbers() -> None:
    assert [parse_count(value) for value in (0, "0", " 60 ", MOST)] == [0, 0, 60, MOST]


@pytest.mark.parametrize("value", [-1, "-1", 5.0, "5.5", True, False, MOST + 1, "1e3", "", "many", [], {}, None, "٣"])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 0 to 1000000000"):
        parse_count(value)


@pytest.mark.parametrize(
    ("text", "nanos", "period", "written"),
    [
        ("5/month", 5 * BILLION, Period.MONTH, "5/month"),
        ("0.50/day", BILLION // 2, Period.DAY, "0.5/day"),
        (" 20 / Week ", 20 * BILLION, Period.WEEK, "20/week"),
        ("100/total", 100 * BILLION, Period.TOTAL, "100/total"),
        ("0/day", 0, Period.DAY, "0/day"),
        ("0.000000001/total", 1, Period.TOTAL, "0.000000001/total"),
    ],
)
def test_budgets(text: str, nanos: int, period: Period, written: str) -> None:
    assert parse_budget(text) == Budget(nanos, period)
    assert str(parse_budget(text)) == written


@pytest.mark.parametrize(
    "value",
    [5, 5.0, "5", "5/year", "-5/month", "/month", "5/", "$5/month", "0.0000000001/day", "5/month/day", True, None],
)
def test_what_is_no_budget(value: Any) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_budget(value)


def test_what_is_reserved() -> None:
    assert [parse_reserve(value) for value in ("expected", " MAX ")] == [Reserve.EXPECTED, Reserve.MAX]
    for value in ("most", True, None):
        with pytest.raises(ValueError, match="must be one of expected, max"):
            parse_reserve(value)


def test_limits_of_models() -> None:
    value = {
        "gpt-*": {"rpm": 5, "budget": "1/day"},
        "a/b:c": {"tpm": "9"},
        "none": {},
        "gone": None,
        "nor": {"rpm": None},
    }
    assert parse_model_limits(value) == (
        ("gpt-*", Limits(rpm=5, budget=Budget(BILLION, Period.DAY))),
        ("a/b:c", Limits(tpm=9)),
    )
    limits = parse_limits({"model_limits": value})
    assert change_limit(limits, "model_limits", {"gpt-*": {"rpm": None}, "a/b:c": None}) == parse_limits(
        {"model_limits": {"gpt-*": {"budget": "1/day"}}}
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "must be a mapping of patterns to limits"),
        ({"gpt-*": 5}, "holds 'gpt-\\*', which must be a mapping of rpm, tpm, concurrent, budget"),
        ({"gpt-*": {"reserve": "max"}}, "which must be a mapping of rpm, tpm, concurrent, budget"),
        ({"gpt-*": {"rpm": -1}}, "holds 'gpt-\\*', whose rpm must be a whole number"),
        ({"gpt-*": {"budget": "5"}}, "whose budget must be an amount and its period"),
        ({"": {"rpm": 1}}, "must name models"),
        ({"x" * 201: {"rpm": 1}}, "must name models"),
        ({"x\n": {"rpm": 1}, "\ud800": {"rpm": 1}}, "must name models"),
        ({str(number): {"rpm": 1} for number in range(MOST_PATTERNS + 1)}, "must hold at most 50 patterns"),
    ],
)
def test_mistakes_in_limits_of_models(value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_model_limits(value)


def test_an_unknown_field() -> None:
    with pytest.raises(ValueError, match="holds 'rpn', which is not one of rpm, tpm, concurrent, budget"):
        parse_limits({"rpn": 5})


def test_fields_that_are_parsed_already() -> None:
    models = join_models([("a", Limits(rpm=1)), ("b", Limits())])
    assert make_limits({"rpm": 5, "model_limits": models, "models": ("x",)}) == Limits(
        rpm=5, models=(("a", Limits(rpm=1)),)
    )
    assert not make_limits({"models": ("x",)})
