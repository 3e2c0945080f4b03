from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.json_edit import edit_json, is_same_json
from argoproxy.protocol.json_text import JsonError

CASES: list[tuple[str, Any, str]] = [
    ('{"a": 1}', {"a": 1}, '{"a": 1}'),
    (' {"a" : 1.50 , "b":"x"} ', {"a": 1.5, "b": "y"}, ' {"a" : 1.50 , "b":"y"} '),
    ('{"a": 1}', {"a": 1, "b": [2]}, '{"a": 1,"b":[2]}'),
    ("{}", {"a": 1, "b": 2}, '{"a":1,"b":2}'),
    ("{ }", {"a": 1}, '{"a":1 }'),
    ('{"a": 1, "b": 2}', {"b": 2}, '{"b": 2}'),
    ('{"a": 1, "b": 2}', {"a": 1}, '{"a": 1}'),
    ('{"a": 1, "b": 2}', {}, "{}"),
    ('{"a": 1, "b": 2, "c": 3}', {"a": 1, "c": 3}, '{"a": 1, "c": 3}'),
    ('{"a": 1, "b": 2, "c": 3}', {"a": 1}, '{"a": 1}'),
    ('{"a": 1, "b": 2, "c": 3}', {"b": 2}, '{"b": 2}'),
    ('{"a": 1, "b": 2}', {"b": 3, "c": 4}, '{"b": 3,"c":4}'),
    ('{"a": 1, "b": 2}', {"c": 4}, '{"c":4}'),
    ('{"m": [ {"x": 1e2, "u": "h"}, 5 ]}', {"m": [{"x": 100.0, "u": "d"}, 5]}, '{"m": [ {"x": 1e2, "u": "d"}, 5 ]}'),
    ('{"m": [1, 2]}', {"m": [1]}, '{"m": [1]}'),
    ('{"m": [ ]}', {"m": [1]}, '{"m": [1]}'),
    (
        '{"m": [[], {}], "z": "\\u00e9\\ud83d\\ude00"}',
        {"m": [[], 1], "z": "é😀"},
        '{"m": [[], 1], "z": "\\u00e9\\ud83d\\ude00"}',
    ),
    ('{"k\\"ey": 1}', {'k"ey': 2}, '{"k\\"ey": 2}'),
    ('{"a": {"b": 1}}', {"a": 5}, '{"a": 5}'),
    ('{"a": "世界"}', {"a": "界世"}, '{"a": "界世"}'),
    ('{"seed": true}', {"seed": 1}, '{"seed": 1}'),
    ('{"seed": 1.0}', {"seed": 1}, '{"seed": 1}'),
]


@pytest.mark.parametrize(("text", "after", "wanted"), CASES)
def test_only_what_changed_is_written_anew(text: str, after: Any, wanted: str) -> None:
    assert edit_json(text.encode(), json.loads(text), after).decode() == wanted


@pytest.mark.parametrize("text", ['{"a": 1.50}', ' {"a" :"}" }\n', '{"a":{"b": 1e5}\t} ', '{"a": "é", "b":[ ]\r\n}'])
def test_members_that_are_added_stand_behind_the_last_one(text: str) -> None:
    before, added = json.loads(text), {"x": {"y": True}, "é": "ü"}
    once_more = json.loads(text)
    edited = edit_json(text.encode(), before, {**before, **added})
    assert edited == edit_json(text.encode(), once_more, {**before, **added})
    assert json.loads(edited) == {**before, **added}


def test_long_numbers_and_unknown_spellings_stay() -> None:
    text = b'{"big": 123456789012345678901234567890.10, "model":"a", "e": 1E5}'
    assert edit_json(text, json.loads(text), {**json.loads(text), "model": "b"}) == text.replace(b'"a"', b'"b"')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=2), values, max_size=5)


@given(objects, objects, st.sampled_from([None, 1, 3]), st.booleans())
def test_the_text_says_what_it_should(before: Any, after: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(before, indent=indent, ensure_ascii=ascii_only)
    try:
        source = text.encode()
    except UnicodeEncodeError:
        return
    assert is_same_json(json.loads(edit_json(source, before, after)), after)
    assert edit_json(source, before, before) == source


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (0, False, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ([1, 2], [1], False),
        (None, None, True),
        ("a", "b", False),
    ],
)
def test_sameness_is_exact(one: Any, other: Any, are_same: bool) -> None:
    assert is_same_json(one, other) is are_same


def test_lone_surrogates_in_bytes_stay() -> None:
    text = b'{"a": "\xed\xa0\x80", "model": "x"}'
    assert edit_json(text, {"a": "\ud800", "model": "x"}, {"a": "\ud800", "model": "y"}) == text.replace(b'x"', b'y"')


def nested(depth: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_too_deep_to_follow_is_told() -> None:
    deep, other = nested(50_000, 1), nested(50_000, 2)
    assert not is_same_json(deep, other)
    with pytest.raises(JsonError, match="nested too deeply"):
        edit_json(b"[" * 50_000 + b"1" + b"]" * 50_000, deep, other)
