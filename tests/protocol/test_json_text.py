from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.json_text import JsonError, JsonLimits, TooManyValues, as_json, dumps, loads, parse, parse_at


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{invalid json}", "line 1, column 2"),
        (b"", "line 1, column 1"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b"[Infinity]", "Infinity is not a JSON value"),
        (b"[-Infinity]", "-Infinity is not a JSON value"),
        (b"[1e999]", "out of range"),
        (b"[" + b"9" * 5000 + b"]", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not utf-8"),
        (b'{"a": 1}{', "line 1, column 9"),
    ],
)
def test_what_is_no_json_is_told(text: bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value", "exact"),
    [
        (b'{"a": 1.50}', {"a": 1.5}, True),
        (b'{"a": 1, "a": 2}', {"a": 2}, False),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', [{"b": {"a": 2}}], False),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}, True),
        ('{"a": "ü"}'.encode("utf-16"), {"a": "ü"}, False),
        ('\ufeff{"a": 1}'.encode(), {"a": 1}, False),
        (b"3", 3, True),
    ],
)
def test_a_text_that_says_something_else_than_its_value_is_told(text: bytes, value: object, exact: bool) -> None:
    assert parse(text) == (value, exact)


def test_upstreams_may_send_nan() -> None:
    assert math.isnan(loads(b"NaN"))
    with pytest.raises(JsonError):
        loads(b"{")


def test_json_is_written_compact_in_utf8() -> None:
    assert dumps({"a": ["ü", "\u2028", 1.5, None]}) == '{"a":["ü","\u2028",1.5,null]}'.encode()
    assert json.loads(dumps("\ud800x")) == "\ud800x"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(JsonError, match="nested too deeply"):
        dumps(deep)
    endless: list[object] = []
    endless.append(endless)
    for value in (endless, ["\ud800", endless]):
        with pytest.raises(JsonError, match="nested too deeply"):
            dumps(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda values: st.lists(values) | st.tuples(values) | st.dictionaries(st.text() | st.integers(), values),
    )
)
def test_json_is_what_the_standard_library_writes(value: object) -> None:
    assert dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def test_what_is_no_value_of_json_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_json_within_a_text_is_as_strict() -> None:
    assert parse_at("x=[1, 2],y", 2) == ([1, 2], 8)
    for text in ("[NaN]", "[1e999]", "[-Infinity]", "[", "[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011 the words are the library's in some cases
            parse_at(text, 0)


def test_a_value_from_elsewhere_is_made_json() -> None:
    assert as_json({5: (1, None)}) == {"5": [1, None]}
    endless: list[Any] = []
    endless.append(endless)
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for value in (float("nan"), {1, 2}, endless, nested):
        with pytest.raises(JsonError):
            as_json(value)


SMALL = JsonLimits(containers=10, values=20, bytes_a_container=10, bytes_a_value=10)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (b"[[],[]]", False),
        (b"[" + b"[]," * 30 + b"0]", True),
        (b"[" + b"{}," * 30 + b"0]", True),
        (b"[" * 30, True),
        (b"[" + b"1," * 60 + b"0]", True),
        (b"[" + b"0.1234567890," * 15 + b"0]", False),
        (b'["' + b"[" * 90 + b'"]', False),
        (b'["' + b"," * 90 + b'"]', False),
        (b'["' + b'\\"[' * 90 + b'"]', False),
        (b'["\\\\"' + b",[]" * 30 + b"]", True),
    ],
)
def test_values_are_counted_outside_of_strings(text: bytes, refused: bool) -> None:
    if refused:
        with pytest.raises(TooManyValues):
            SMALL.check(text)
    else:
        SMALL.check(text)


@pytest.mark.parametrize("piece", [b"[]", b"{}", b"0", b'{"a":[]}'])
def test_a_bomb_is_refused_before_it_is_parsed(piece: bytes) -> None:
    bomb = b"[" + (piece + b",") * 2_000_000 + b"0]"
    with pytest.raises(TooManyValues):
        parse(bomb)
    if piece != b"0":
        with pytest.raises(TooManyValues):
            loads(bomb)


def test_what_is_large_and_ordinary_passes() -> None:
    vectors = {"data": [{"index": n, "embedding": [0.0123456789] * 300} for n in range(200)]}
    top = [{"token": "abc", "logprob": -0.125, "bytes": [97, 98, 99]}] * 20
    tokens = {"choices": [{"logprobs": {"content": [{"token": "abc", "top_logprobs": top}] * 8000}}]}
    code = {"messages": [{"role": "user", "content": "if (a[0]) { f({}, []); }, " * 100_000}]}
    for document in (vectors, tokens, code):
        assert loads(dumps(document)) == document
    assert parse(dumps(code)) == (code, True)
