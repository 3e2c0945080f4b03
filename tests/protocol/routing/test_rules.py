from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import NO_OVERRIDES, TimeoutOverrides, Timeouts

Json = dict[str, Any]


def call(**body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), body, b"as it came")


APPLIED: dict[str, tuple[Rule, Json, Json]] = {
    "params override": (Rule("a", {"x": 1}), {"x": 2, "y": 3}, {"x": 1, "y": 3}),
    "defaults fill what is left out": (Rule("a", defaults={"x": 1, "y": 1}), {"x": 2}, {"x": 2, "y": 1}),
    "null is left out": (Rule("a", defaults={"x": 1}), {"x": None}, {"x": 1}),
    "a falsy value is said": (Rule("a", defaults={"x": 1}), {"x": 0}, {"x": 0}),
    "remove takes away": (Rule("a", remove=("x", "z")), {"x": 2, "y": 3}, {"y": 3}),
    "removed, then filled": (Rule("a", remove=("x",), defaults={"x": 1}), {"x": 2}, {"x": 1}),
    "removed, then set": (Rule("a", {"x": 5}, remove=("x",)), {"x": 2}, {"x": 5}),
    "params beat defaults": (Rule("a", {"x": 5}, defaults={"x": 1}), {}, {"x": 5}),
    "renamed": (Rule("a", upstream_model_name="b"), {"model": "a"}, {"model": "b"}),
}


@pytest.mark.parametrize(("rule", "body", "sent"), APPLIED.values(), ids=APPLIED.keys())
def test_what_a_rule_makes_of_a_body(rule: Rule, body: Json, sent: Json) -> None:
    asked = call(**body)
    assert rule.apply(asked).body == sent
    assert asked.body == body


def test_a_rule_that_says_nothing_of_the_body_gives_the_very_call() -> None:
    asked = call(x=1)
    assert Rule("a", think_tag_start="[", upstreams=("u",)).apply(asked) is asked


def test_a_stronger_rule_counts_field_by_field() -> None:
    weak = Rule(
        "a",
        {"x": 1, "y": 1},
        "weak",
        think_tag_start="[",
        upstreams=("u",),
        remove=("r",),
        timeouts=TimeoutOverrides(connect_s=1, idle_s=1),
    )
    strong = Rule("b", {"x": 2}, "strong", think_tag_end="]", timeouts=TimeoutOverrides(idle_s=2))
    assert strong.merged_over(weak) == Rule(
        "b",
        {"x": 2, "y": 1},
        "strong",
        think_tag_start="[",
        think_tag_end="]",
        upstreams=("u",),
        remove=("r",),
        timeouts=TimeoutOverrides(connect_s=1, idle_s=2),
    )


BOOKS = Rules(
    (
        RuleSet("LLM_PARAMS", (Rule("q*", {"n": 1}), Rule("default", {"n": 9}))),
        RuleSet("models", (Rule("qa", {"n": 2, "x": 2}), Rule("r", {"n": 3}), Rule("default", {"y": 4}))),
    )
)


@pytest.mark.parametrize(
    ("name", "params", "sources"),
    [
        ("qa", {"n": 1, "x": 2}, ["LLM_PARAMS", "models"]),
        ("qb", {"n": 1}, ["LLM_PARAMS"]),
        ("r", {"n": 3}, ["models"]),
        ("else", {}, []),
    ],
)
def test_the_stronger_book_counts_where_both_name_a_model(name: str, params: Json, sources: list[str]) -> None:
    applied = BOOKS.for_model((name,))
    assert applied.combine().params == params
    assert [source for source, _ in applied.matches] == sources


def test_default_rules_are_joined_too() -> None:
    assert BOOKS.default().combine().params == {"n": 9, "y": 4}
    assert Rules().default().combine() == Rule("")
    assert Rules((RuleSet("models", ()),)).for_model(("a",)).combine() == Rule("")


def test_a_rule_that_only_has_a_name_sets_nothing() -> None:
    assert Rule("a").sets_nothing
    assert not Rule("a", upstreams=("u",)).sets_nothing


def test_upstreams_of_a_list_have_spares() -> None:
    listed = Rule("m1", upstreams=("one", "two"))
    rules = Rules(
        (RuleSet("models", (listed, Rule("m2", upstreams=("two", "three")), Rule("m3", upstreams=("lone",)))),)
    )
    assert rules.spared_upstreams == {"one", "two", "three"}
    assert Rules().spared_upstreams == frozenset()


def test_time_outs_are_wished_one_by_one() -> None:
    assert Timeouts(1, 2, 3, 4).override(TimeoutOverrides(first_byte_s=9, total_s=8)) == Timeouts(1, 9, 3, 8)
    timeouts = Timeouts()
    assert timeouts.override(NO_OVERRIDES) is timeouts


def test_the_time_to_connect_is_no_longer_than_a_time_out_for_all_unless_it_is_set() -> None:
    for_all = TimeoutOverrides(first_byte_s=2, idle_s=2, connect_cap_s=2)
    assert Timeouts().override(for_all) == Timeouts(2, 2, 2)
    assert Timeouts().with_request_timeout(2) == Timeouts(2, 2, 2)
    assert Timeouts().with_request_timeout(20) == Timeouts(10, 20, 20)
    set_itself = Timeouts().override(TimeoutOverrides(connect_s=30))
    assert (set_itself.override(for_all).connect_s, set_itself.with_request_timeout(2).connect_s) == (30, 30)
    assert Timeouts().override(for_all.merged_over(TimeoutOverrides(connect_s=30))).connect_s == 30


def test_what_is_removed_is_removed_from_the_request_of_another_api_too() -> None:
    origin = replace(call(model="m", input="hi", stream=True, store=True), path="/v1/responses")
    converted = replace(call(model="m", messages=[]), origin=origin)
    changed = Rule("a", remove=("store", "input", "stream")).apply(converted)
    assert changed.origin is not None
    assert changed.origin.body == {"model": "m", "input": "hi", "stream": True}, "what it can't do without stays"
    assert changed.origin.original_body == origin.body
    assert Rule("a", remove=("x",)).apply(converted) is converted
    assert Rule("a", {"x": 1}).apply(converted).origin is origin


def test_defaults_leave_what_the_request_of_another_api_says() -> None:
    converted = replace(call(), origin=call(tier="a", none=None))
    defaults = {"tier": "b", "none": 1, "z": 1}
    assert Rule("a", defaults=defaults).apply(converted).body == {"none": 1, "z": 1}
    assert Rule("a", {"tier": "c"}, defaults=defaults).apply(converted).body == {"none": 1, "z": 1, "tier": "c"}
    assert Rule("a", defaults=defaults, remove=("tier",)).apply(converted).body == defaults
