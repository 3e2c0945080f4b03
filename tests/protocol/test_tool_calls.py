from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.stream.tool_calls import ToolCalls, with_text
from tests.support.growth import assert_linear
from tests.support.tool_call_fragments import HEAD, NEXT, fragment, odd_fragments

Json = dict[str, Any]


def repaired(*fragments: Json) -> list[Json]:
    """Repair fragments, one in each delta."""
    calls = ToolCalls()
    return [part for one in fragments for part in calls.repaired([one])]


RIGHT = {
    "one call": [HEAD, NEXT, NEXT],
    "two calls, interleaved": [HEAD, fragment(1, id="b", type="function", name="g"), NEXT, fragment(1, arguments="1")],
    "whole calls": [fragment(0, id="a", name="f", arguments="{}"), fragment(1, id="b", name="f", arguments="{}")],
    "calls that share an id": [fragment(0, id="a", name="f"), fragment(1, id="a", name="g")],
    "a custom tool": [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "g", "input": ""}},
        {"index": 0, "custom": {"input": "x"}},
    ],
    "an id that comes late": [fragment(0, name="f"), fragment(0, id="a", arguments="{}")],
    "a name that comes late": [fragment(0, id="a", arguments="{}"), fragment(0, name="f")],
    "nothing said at first": [fragment(0, id="", type=None, name=""), fragment(0, id="a", type="function", name="f")],
    "unknown fields": [{**HEAD, "extra_content": {"google": {"thought_signature": "s"}}}],
    "nothing to call": [fragment(0, id="a", function=None), fragment(0)],
}


@pytest.mark.parametrize("fragments", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_is_the_very_same(fragments: list[Json]) -> None:
    calls = ToolCalls()
    for one in fragments:
        delta = [one]
        assert calls.repaired(delta) is delta
    together = ToolCalls()
    assert together.repaired(fragments) is fragments


ODD = {
    "no index, same id": (
        [fragment(id="a", name="f", arguments=""), fragment(id="a", arguments="{}")],
        [fragment(0, id="a", name="f", arguments=""), fragment(0, arguments="{}")],
    ),
    "no index, no id": (
        [fragment(id="a", name="f"), fragment(arguments="{}"), fragment(None, id="", arguments=" ")],
        [fragment(0, id="a", name="f"), fragment(0, arguments="{}"), fragment(0, arguments=" ")],
    ),
    "no index, a new id": (
        [fragment(id="a", name="f"), fragment(id="b", name="f"), fragment(id="c"), fragment(arguments="1")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="f"), fragment(2, id="c"), fragment(2, arguments="1")],
    ),
    "no index, an id from before": (
        [fragment(id="a", name="f"), fragment(id="b", name="g"), fragment(id="a", arguments="1"), fragment()],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(0, arguments="1"), fragment(0)],
    ),
    "an index later": (
        [
            fragment(id="a", name="f"),
            fragment(0, arguments="1"),
            fragment(1, id="b", name="g"),
            fragment(arguments="2"),
        ],
        [
            fragment(0, id="a", name="f"),
            fragment(0, arguments="1"),
            fragment(1, id="b", name="g"),
            fragment(1, arguments="2"),
        ],
    ),
    "no index, no id, whole calls": (
        [fragment(id="", name="f", arguments='{"a":1}'), fragment(id="", name="f", arguments="{}")],
        [fragment(0, id="", name="f", arguments='{"a":1}'), fragment(1, id="", name="f", arguments="{}")],
    ),
    "no id, whole calls, all of index 0": (
        [fragment(0, name="f", arguments={"a": 1}), fragment(0, name="g", arguments="{}")],
        [fragment(0, name="f", arguments='{"a":1}'), fragment(1, name="g", arguments="{}")],
    ),
    "no id, a name repeated": (
        [fragment(name="f", arguments='{"a'), fragment(name="f", arguments='":1}')],
        [fragment(0, name="f", arguments='{"a'), fragment(0, arguments='":1}')],
    ),
    "counted from 1": (
        [fragment(1, id="a", name="f"), fragment(1, arguments="{}"), fragment(2, id="b"), fragment(1, arguments=" ")],
        [fragment(0, id="a", name="f"), fragment(0, arguments="{}"), fragment(1, id="b"), fragment(0, arguments=" ")],
    ),
    "one index for two ids": (
        [fragment(0, id="a", name="f"), NEXT, fragment(0, id="b", name="f", arguments=""), NEXT],
        [
            fragment(0, id="a", name="f"),
            NEXT,
            fragment(1, id="b", name="f", arguments=""),
            fragment(1, arguments="{}"),
        ],
    ),
    "one index for two ids, one of which comes again": (
        [fragment(0, id="a", name="f"), fragment(0, id="b", name="g"), fragment(0, id="a", arguments="1")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(0, arguments="1")],
    ),
    "an index of its own after one for two": (
        [fragment(0, id="a", name="f"), fragment(0, id="b", name="g"), fragment(1, id="c", name="h")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(2, id="c", name="h")],
    ),
    "a new id with every fragment": (
        [
            fragment(0, id="a", name="f"),
            fragment(0, id="b", arguments="1"),
            fragment(0, id="c", name="", arguments="2"),
        ],
        [fragment(0, id="a", name="f"), fragment(0, arguments="1"), fragment(0, arguments="2")],
    ),
    "everything repeated": (
        [HEAD, {**HEAD, "function": {"name": "f", "arguments": "1"}}],
        [HEAD, fragment(0, arguments="1")],
    ),
    "null repeated": (
        [HEAD, fragment(0, id=None, type=None, name=None, arguments="1")],
        [HEAD, fragment(0, arguments="1")],
    ),
    "arguments as an object": (
        [fragment(0, id="a", name="f", arguments={"é": [1.0]}), fragment(1, id="b", arguments=[1])],
        [fragment(0, id="a", name="f", arguments='{"é":[1.0]}'), fragment(1, id="b", arguments="[1]")],
    ),
    "odd indexes": (
        [fragment("7", id="a"), fragment(True, id="b"), fragment(1.0, id="c"), fragment([], id="d"), fragment(-5)],
        [fragment(0, id="a"), fragment(1, id="b"), fragment(2, id="c"), fragment(3, id="d"), fragment(4)],
    ),
    "odd ids and names": (
        [fragment(id=5, name={}), fragment(id=5, name="f"), fragment(id={"a": 1}, name=7)],
        [fragment(0, id=5, name={}), fragment(0, name="f"), fragment(0, function={})],
    ),
    "arguments that are nearly whole": (
        [fragment(name="f", arguments="[1]"), fragment(name="f"), fragment(name="f", arguments='{"\ud800')],
        [fragment(0, name="f", arguments="[1]"), fragment(0, function={}), fragment(0, arguments='{"\ud800')],
    ),
}


@pytest.mark.parametrize(("fragments", "right"), ODD.values(), ids=ODD.keys())
def test_fragments_of_odd_servers_are_put_right(fragments: list[Json], right: list[Json]) -> None:
    kept = copy.deepcopy(fragments)
    assert repaired(*fragments) == right
    assert ToolCalls().repaired(fragments) == right
    assert fragments == kept


@pytest.mark.parametrize("odd", [None, "odd", {"index": 3}, [], ["odd", None, 5]])
def test_what_is_no_fragment_is_left_alone(odd: Any) -> None:
    calls = ToolCalls()
    assert calls.repaired(odd) is odd
    assert calls.repaired([odd, HEAD] if isinstance(odd, str) else [HEAD])[-1] is HEAD


def test_bare_arguments_of_a_call_that_began_are_told_right() -> None:
    calls = ToolCalls()
    assert not calls.goes_on(0)
    calls.repaired([HEAD, fragment(7, id="b", name="g")])
    assert calls.goes_on(0)
    assert calls.repaired([fragment(arguments="of the last one")])[0]["index"] == 0
    assert not calls.goes_on(7)
    assert calls.repaired([fragment(arguments="of the last one")])[0]["index"] == 1


@given(st.lists(odd_fragments, max_size=12))
def test_what_was_repaired_is_right(fragments: list[Json]) -> None:
    once = repaired(*fragments)
    calls = ToolCalls()
    for one in once:
        assert calls.repaired([one])[0] is one
    indexes = [one["index"] for one in once]
    assert list(dict.fromkeys(indexes)) == list(range(len(set(indexes))))
    for index in set(indexes):
        mine = [one for one in once if one["index"] == index]
        for key in ("id", "type"):
            assert sum(bool(one.get(key)) for one in mine) <= 1
            assert all(one[key] for one in mine[1:] if key in one)
        tools = [one["function"] for one in mine if isinstance(one.get("function"), dict)]
        assert sum(bool(tool.get("name")) for tool in tools) <= 1


def test_whole_calls_get_arguments_that_are_text() -> None:
    right: Json = {"index": 5, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert with_text(right) is right
    assert with_text({"function": None})["function"] is None
    odd: Json = {"index": 5, "id": "a", "custom": {"name": "f", "input": {"a": 1}}, "more": {}}
    assert with_text(odd) == {**odd, "custom": {"name": "f", "input": '{"a":1}'}}


def test_arguments_too_deep_to_be_written_are_the_upstreams_fault() -> None:
    value: Any = 1
    for _ in range(5000):
        value = {"a": value}
    with pytest.raises(UpstreamProtocolError, match="can't be written again"):
        repaired(fragment(0, arguments=value))


def test_many_fragments_and_many_calls_take_linear_time() -> None:
    def work(size: int) -> None:
        calls = ToolCalls()
        for number in range(size):
            calls.repaired([fragment(id=f"call_{number}", name="f", arguments="{}")])
            calls.repaired([fragment(arguments=" ")])

    assert_linear(work, 1_000)
