"""What makes two requests the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.cache.cache_key import IGNORED_FIELDS, Asker, Question, find_credentials, make_key
from argoproxy.protocol.cache.cache_policy import CacheScope
from argoproxy.protocol.http_messages import Headers

BODY: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
QUESTION = Question("up", "/v1/chat/completions", "", (("OpenAI-Organization", "o"),), BODY)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def key(question: Question = QUESTION, asker: str = "all", version: str = "1") -> bytes:
    made = make_key(question, asker, version)
    assert made is not None
    return made


def with_fields(**fields: Any) -> Question:
    return replace(QUESTION, body={**BODY, **fields})


def with_headers(*headers: tuple[str, str]) -> Question:
    return replace(QUESTION, headers=(*QUESTION.headers, *headers))


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
def test_what_changes_no_answer_is_left_out(name: str) -> None:
    assert key(with_fields(**{name: "x"})) == key()


@pytest.mark.parametrize(
    "header",
    [("User-Agent", "x"), ("X-Stainless-Retry-Count", "1"), ("x-request-id", "7"), ("Cache-Control", "no-cache")],
)
def test_headers_about_the_connection_are_left_out(header: tuple[str, str]) -> None:
    assert key(with_headers(header)) == key()


def test_cache_key_without_tools() -> None:
    """Definitions of tools, and what nobody knows yet, make another request."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    changed = [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]
    questions = [QUESTION, with_fields(tools=tools), with_fields(tools=changed), with_fields(not_known_yet=1)]
    assert len(set(map(key, questions))) == 4


def test_each_part_counts() -> None:
    questions = [
        QUESTION,
        replace(QUESTION, upstream="other"),
        replace(QUESTION, path="/v1/completions"),
        replace(QUESTION, query="api-version=2"),
        replace(QUESTION, headers=()),
        with_headers(("X-Unknown", "1")),
        with_headers(("X-Unknown", "2")),
        with_fields(temperature=0.0),
        with_fields(temperature=None),
        with_fields(messages=[{"role": "user", "content": "Hi "}]),
    ]
    keys = {*map(key, questions), key(asker="key:1"), key(version="2")}
    assert len(keys) == len(questions) + 2


def test_the_order_of_members_does_not_count() -> None:
    assert key(replace(QUESTION, body=dict(reversed(BODY.items())))) == key()


def test_parts_are_not_confused() -> None:
    """What ends one part can't begin the next."""
    assert key(replace(QUESTION, upstream="upx", path="y")) != key(replace(QUESTION, upstream="up", path="xy"))


@given(JSON, JSON)
def test_different_values_have_different_keys(first: Any, second: Any) -> None:
    same = repr(first) == repr(second)
    if same or first != second:
        assert (key(with_fields(field=first)) == key(with_fields(field=second))) is same


def test_lone_surrogates_have_a_key() -> None:
    assert key(with_fields(user_text="\ud800")) != key(with_fields(user_text="\ud801"))
    assert key(with_headers(("X-Odd", "\udcff"))) != key()


def test_a_question_nested_too_deeply_has_no_key() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert make_key(with_fields(deep=deep), "all", "1") is None


ASKERS = [
    Asker("id-1", "anna", "red"),
    Asker("id-2", "anna", "red"),
    Asker("", "anna"),
    Asker("", "", "", "authorization:Bearer a"),
    Asker("", "", "", "authorization:Bearer b"),
    Asker(),
]


def test_by_default_each_caller_is_alone() -> None:
    assert len({asker.within(CacheScope.KEY) for asker in ASKERS}) == len(ASKERS)


def test_who_has_a_key_or_a_name_is_known() -> None:
    assert [asker.is_known for asker in ASKERS] == [True, True, True, False, False, False]


def test_a_team_shares_what_a_key_without_one_does_not() -> None:
    shared = [asker.within(CacheScope.TEAM) for asker in ASKERS]
    assert shared[0] == shared[1] == "team:red"
    assert len(set(shared)) == len(ASKERS) - 1


def test_all_share_where_the_rule_says_so() -> None:
    assert {asker.within(CacheScope.ALL) for asker in ASKERS} == {"all"}


def test_credentials_are_found_in_a_head() -> None:
    headers: Headers = (("Authorization", "Bearer a"), ("X-Other", "1"), ("x-api-key", "b"))
    assert find_credentials(headers, "a=1&key=c") == "authorization:Bearer a\nx-api-key:b\nc"
    assert find_credentials((), "") == ""
    assert "Bearer" not in repr(Asker(credentials=find_credentials(headers, "")))
