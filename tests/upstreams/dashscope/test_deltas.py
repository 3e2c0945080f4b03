from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.upstreams.dashscope.deltas import DeltaExtractor, TextMode


def told(reading: TextMode, *values: Any, name: str = "content") -> list[Any]:
    """Give what is told after each value, and what at the end."""
    texts = DeltaExtractor(reading)
    return [*(texts.feed({name: value}).get(name) for value in values), texts.finish().get(name)]


def whole(reading: TextMode, *values: str) -> str:
    return "".join(part or "" for part in told(reading, *values))


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["He", "llo", ""], ["He", "llo", None, None]),
        (["", "He", "llo", "He"], [None, "He", "llo", "He", None]),
        (["1", "10", "100", ""], ["1", None, None, "10100", None]),
        (["ha", "ha", "ha", "!"], ["ha", None, None, "haha!", None]),
        (["He", "Hello", "Hello!", "Hello!"], ["He", None, None, None, "llo!"]),
        (["Hello", "Hello"], ["Hello", None, None]),
        (["Hello", ""], ["Hello", None, None]),
        ([""], [None, None]),
        ([[1], [2], []], [[1], [2], None, None]),
        ([[1], [1, 2]], [[1], None, [2]]),
        ([[1], [1, 1], [2]], [[1], None, [1, 1, 2], None]),
    ],
)
def test_undecided_until_a_text_does_not_go_on(values: list[Any], parts: list[Any]) -> None:
    assert told(TextMode.UNDECIDED, *values) == parts


@given(st.lists(st.text("1 0", max_size=4), max_size=8))
def test_both_kinds_are_exact_whatever_they_say(pieces: list[str]) -> None:
    """An incremental stream ends with an empty text, a cumulative one with the whole."""
    text = "".join(pieces)
    assert whole(TextMode.UNDECIDED, *pieces, "") == text
    so_far = [part for part in accumulate(pieces) if part]
    assert whole(TextMode.UNDECIDED, *so_far, *so_far[-1:]) == text
    assert whole(TextMode.CUMULATIVE, *so_far, *so_far[-1:], "") == text
    assert whole(TextMode.FINAL_ONLY, *so_far, *so_far[-1:], "") == text


def test_one_text_that_does_not_go_on_settles_all() -> None:
    texts = DeltaExtractor(TextMode.UNDECIDED)
    assert texts.feed({"a": "1", "b": "x"}) == {"a": "1", "b": "x"}
    assert texts.feed({"a": "12"}) == {}
    assert texts.feed({"c": [0]}) == {"c": [0]}
    assert texts.feed({"b": "y"}) == {"a": "12", "b": "y"}
    assert texts.feed({"a": "12"}) == {"a": "12"}
    assert texts.finish() == {}


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["He", "Hello", "Hello", ""], ["He", "llo", None, None, None]),
        ([[1], [1, 2], [3]], [[1], [2], [3], None]),
    ],
)
def test_a_cumulative_text_is_told_as_it_grows(values: list[Any], parts: list[Any]) -> None:
    assert told(TextMode.CUMULATIVE, *values) == parts


@pytest.mark.parametrize("value", ["Hi", "Hel", "hello"])
def test_a_text_that_was_rewritten_is_an_error(value: str) -> None:
    texts = DeltaExtractor(TextMode.CUMULATIVE)
    texts.feed({"content": "Hello"})
    with pytest.raises(UpstreamProtocolError) as caught:
        texts.feed({"content": value})
    assert caught.value.code == "upstream_text_rewritten"


@pytest.mark.parametrize(
    ("values", "last"), [(["Hello", "Hi", ""], "Hi"), (["He", "Hello"], "Hello"), ([[1], [2]], [1, 2])]
)
def test_the_last_text_is_what_counts_where_nothing_was_told(values: list[Any], last: Any) -> None:
    assert told(TextMode.FINAL_ONLY, *values) == [*(None for _ in values), last]
