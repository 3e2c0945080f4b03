"""What rules changed in a body."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.console.exchange.body_diff import MOST_CHANGES, MOST_CHARACTERS, find_changes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(one["path"], one["kind"], one["before"], one["after"]) for one in find_changes(before, after)]


def test_each_parameter_is_a_change() -> None:
    before, after = {"model": "a", "top_p": 1, "n": 1}, {"model": "b", "n": 1, "top_k": 5}
    assert changes(before, after) == [
        ("model", "changed", '"a"', '"b"'),
        ("top_p", "removed", "1", ""),
        ("top_k", "added", "", "5"),
    ]


def test_a_message_in_front_is_one_change() -> None:
    before = {"messages": [{"content": "a"}, {"content": "b"}]}
    after = {"messages": [{"content": "s"}, {"content": "a"}, {"content": "b"}]}
    assert changes(before, after) == [("messages[0]", "added", "", '{"content":"s"}')]


def test_a_text_that_grew_is_shown_within_its_message() -> None:
    before, after = {"messages": [{"content": "a"}]}, {"messages": [{"content": "a b"}]}
    assert changes(before, after) == [("messages[0].content", "changed", '"a"', '"a b"')]


def test_true_is_not_one() -> None:
    assert changes({"stream": True}, {"stream": 1}) == [("stream", "changed", "true", "1")]


def test_what_dashscope_wraps_is_no_change() -> None:
    wrapped = {"model": "m", "input": {"messages": []}, "parameters": {"top_p": 1}}
    assert changes({"model": "m", "messages": [], "top_p": 1}, wrapped) == []


def test_what_other_apis_say_elsewhere_is_no_change() -> None:
    schema = {"type": "object"}
    tool = {"type": "function", "function": {"name": "look", "description": "d", "parameters": schema}}
    user = {"role": "user", "content": "Hi"}
    chat = {"model": "m", "messages": [{"role": "system", "content": "Be kind."}, user], "tools": [tool]}
    of_messages = {
        "model": "m",
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [user],
        "tools": [{"name": "look", "description": "d", "input_schema": schema}],
    }
    of_responses = {
        "model": "m",
        "instructions": "Be kind.",
        "input": "Hi",
        "tools": [{"type": "function", "name": "look", "description": "d", "parameters": schema}],
    }
    assert changes(of_messages, chat) == changes(of_responses, chat) == []
    assert changes({**of_messages, "system": "Be short."}, chat) == [
        ("messages[0].content", "changed", '"Be short."', '"Be kind."')
    ]
    assert changes({"system": "Be kind."}, {}) == [("system", "removed", '"Be kind."', "")]


def test_long_values_and_many_changes_are_cut() -> None:
    found = find_changes({}, {"x": "y" * (2 * MOST_CHARACTERS)})
    assert len(found[0]["after"]) == MOST_CHARACTERS + 1
    assert len(find_changes({}, {str(number): number for number in range(2 * MOST_CHANGES)})) == MOST_CHANGES


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_equal_bodies_do_not_differ(body: dict[str, Any]) -> None:
    assert find_changes(body, body) == []


@given(*2 * [st.dictionaries(st.text(max_size=3), VALUES, max_size=4)])
def test_bodies_that_differ_have_a_change(before: dict[str, Any], after: dict[str, Any]) -> None:
    wrapped = {"input", "parameters", "system", "instructions", "tools"}
    if before != after and not wrapped & (before.keys() | after.keys()):
        assert find_changes(before, after)
