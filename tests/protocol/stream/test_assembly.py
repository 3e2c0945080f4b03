from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from argoproxy.protocol.stream.builders import MAX_PIECES, ListBuilder, ObjectBuilder, TextBuilder, build, set_field
from argoproxy.protocol.stream.tool_calls import arguments_as_text
from tests.support.growth import assert_linear

Json = dict[str, Any]


def joined(*lists: list[Any]) -> Any:
    fields = ObjectBuilder()
    for one in lists:
        set_field(fields, "list", one)
    return build(fields)["list"]


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def thought(*words: str, **more: Any) -> Json:
    return {"type": "thinking", "thinking": [text(word) for word in words], **more}


def detail(words: str, **more: Any) -> Json:
    return {"type": "reasoning.text", "text": words, **more}


LISTS: dict[str, tuple[list[list[Any]], list[Any]]] = {
    "texts": ([[text("a")], [text("b")], [text("c"), text("d")]], [text("abc"), text("d")]),
    "texts that came together": ([[text("a"), text("b")]], [text("a"), text("b")]),
    "thoughts, then text": (
        [[thought("a")], [thought("b")], [thought("c", closed=True)], [text("d")]],
        [thought("abc", closed=True), text("d")],
    ),
    "a closed thought": ([[thought("a", closed=True)], [thought("b")]], [thought("a", closed=True), thought("b")]),
    "thoughts of other things": (
        [[thought("a")], [{"type": "thinking", "thinking": [{"type": "reference", "ids": [1]}]}], [thought("b")]],
        [{"type": "thinking", "thinking": [text("a"), {"type": "reference", "ids": [1]}, text("b")]}],
    ),
    "details of one block": (
        [[detail("a", index=0, signature=None)], [detail("b", index=0)], [detail("", index=0, signature="s")]],
        [detail("ab", index=0, signature="s")],
    ),
    "details of two blocks": (
        [[detail("a", index=0)], [detail("b", index=1)]],
        [detail("a", index=0), detail("b", index=1)],
    ),
    "details of two ids": (
        [[detail("a", id="x")], [detail("b", id="x")], [detail("c", id="y")]],
        [detail("ab", id="x"), detail("c", id="y")],
    ),
    "a summary": (
        [[{"type": "reasoning.summary", "summary": "a", "index": 0}]] * 2,
        [{"type": "reasoning.summary", "summary": "aa", "index": 0}],
    ),
    "encrypted": (
        [[{"type": "reasoning.encrypted", "data": "a"}]] * 2,
        [{"type": "reasoning.encrypted", "data": "a"}] * 2,
    ),
    "other kinds": ([[text("a")], [{"type": "image"}], [text("b")]], [text("a"), {"type": "image"}, text("b")]),
    "no kind": (
        [[{"index": 0}], [{"index": 0}], [{"type": ["odd"]}], [5], [text("a")]],
        [{"index": 0}] * 2 + [{"type": ["odd"]}, 5, text("a")],
    ),
    "odd indexes": ([[text("a", index={})], [text("b", index={})]], [text("a", index={}), text("b", index={})]),
    "odd texts": (
        [[text("a")], [{"type": "text", "text": None}], [{"type": "text", "text": ["b"]}], [text("c")]],
        [{"type": "text", "text": ["b", text("c")]}],
    ),
    "more lists": (
        [[text("a", more=[text("x")])], [text("b", more=[text("y")])]],
        [text("ab", more=[text("x"), text("y")])],
    ),
    "nothing": ([[], [text("a")], []], [text("a")]),
}


@pytest.mark.parametrize(("lists", "whole"), LISTS.values(), ids=LISTS.keys())
def test_parts_in_several_deltas_go_on(lists: list[list[Any]], whole: list[Any]) -> None:
    kept = copy.deepcopy(lists)
    assert joined(*lists) == whole
    assert lists == kept


def nested(depth: int, inner: Any, key: str) -> Any:
    for _ in range(depth):
        inner = [{"type": key, key: inner, "index": 0}]
    return inner


@pytest.mark.parametrize("key", ["text", "thinking"])
def test_parts_may_be_nested_deeply(key: str) -> None:
    made = joined(nested(3000, "a", key), nested(3000, "b", key))
    assert made[0]["type"] == key


def test_null_and_empty_objects_replace_nothing() -> None:
    fields = ObjectBuilder()
    for value in (None, {}, {"a": 1}, {}, None):
        set_field(fields, "results", value)
    assert build(fields) == {"results": {"a": 1}}
    set_field(fields, "results", 0)
    assert build(fields) == {"results": 0}


def test_a_string_of_many_pieces_takes_the_room_of_its_letters() -> None:
    spelled = TextBuilder()
    for number in range(MAX_PIECES * 3 + 5):
        spelled.append(f"{number} ")
    assert str(spelled) == "".join(f"{number} " for number in range(MAX_PIECES * 3 + 5))
    assert str(TextBuilder()) == ""


def test_long_lists_of_texts_take_linear_time() -> None:
    def work(size: int) -> None:
        parts = ListBuilder()
        for _ in range(size):
            parts.extend_joining([text("ab")])
        assert build(parts) == [text("ab" * size)]

    assert_linear(work, 5_000)


@pytest.mark.parametrize(("came", "text"), [({"a": 1}, '{"a":1}'), ([], "[]"), ("{", "{"), (None, None), (5, 5)])
def test_arguments_become_text_where_they_came_as_an_object(came: Any, text: Any) -> None:
    assert arguments_as_text(came) == text
    assert arguments_as_text(text) is text
    json.dumps(arguments_as_text(came))
