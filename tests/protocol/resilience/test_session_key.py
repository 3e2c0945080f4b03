"""The key of a conversation: which requests go to the same upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.content import ATTRIBUTION
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.session_key import TEXT_LIMIT, hash_beginning, session_key
from tests.support.growth import FACTOR, assert_linear

Json = dict[str, Any]
ASKED = "Who are you?"
LATER = {"role": "assistant", "content": "I am new."}, {"role": "user", "content": "And now?"}


def chat(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "messages": list(messages), **fields}


def user(content: Any = ASKED) -> Json:
    return {"role": "user", "content": content}


def system(content: Any) -> Json:
    return {"role": "system", "content": content}


def part(text: str, kind: str = "text") -> Json:
    return {"type": kind, "text": text}


NAMED: dict[str, tuple[Headers, Json, str]] = {
    "the header": ((("X-Session-Id", "session-1"),), chat(user()), "session-1"),
    "the header before the field": ((("x-session-id", "s"),), chat(user(), prompt_cache_key="k"), "s"),
    "the field": ((), chat(user(), prompt_cache_key="k"), "k"),
    "the field beside an empty header": ((("X-Session-Id", " "),), {"input": "x", "prompt_cache_key": "k"}, "k"),
}


@pytest.mark.parametrize(("headers", "body", "key"), NAMED.values(), ids=NAMED)
def test_a_client_names_its_session(headers: Headers, body: Json, key: str) -> None:
    assert session_key(headers, body) == key


@pytest.mark.parametrize("field", [None, "", 5, ["k"]])
def test_a_field_without_a_name_counts_as_none(field: Any) -> None:
    assert session_key((), chat(user(), prompt_cache_key=field)) == hash_beginning(chat(user()))


SAME: dict[str, tuple[Json, Json]] = {
    "a chat that goes on": (chat(system("s"), user()), chat(system("s"), user(), *LATER)),
    "parts in place of a string": (chat(system("s"), user()), chat(system([part("s")]), user([part(ASKED)]))),
    "a developer in place of a system": (
        chat(system("s"), user()),
        chat({"role": "developer", "content": "s"}, user()),
    ),
    "other fields": (chat(user()), chat(user(), temperature=1, tools=[], stream=True)),
    "messages that go on": (
        {"model": "m", "system": "s", "messages": [user()]},
        {"model": "m", "system": [part("s")], "messages": [user([part(ASKED)]), *LATER]},
    ),
    "a response that goes on": (
        {"model": "m", "instructions": "s", "input": ASKED},
        {
            "model": "m",
            "instructions": "s",
            "input": [user([part(ASKED, "input_text")]), {"type": "reasoning"}, *LATER],
        },
    ),
    "a line that differs in each request": (
        {"model": "m", "system": [part(f"{ATTRIBUTION}: cch=1"), part("s")], "messages": [user()]},
        {"model": "m", "system": [part(f"{ATTRIBUTION}: cch=2"), part("s")], "messages": [user()]},
    ),
    "what stands behind a long system prompt": (
        chat(system("s" * TEXT_LIMIT + "10:00"), user()),
        chat(system("s" * TEXT_LIMIT + "10:01"), user()),
    ),
    "what stands behind a long system prompt in parts": (
        chat(system([part("s" * TEXT_LIMIT), part("10:00")]), user()),
        chat(system([part("s" * TEXT_LIMIT), part("10:01")]), user()),
    ),
    "a long prompt that grows": (
        {"model": "m", "prompt": "p" * TEXT_LIMIT},
        {"model": "m", "prompt": "p" * TEXT_LIMIT + "more"},
    ),
    "the middle of a long message": (
        chat(user("a" * TEXT_LIMIT + "1" + "z" * TEXT_LIMIT)),
        chat(user("a" * TEXT_LIMIT + "2" + "z" * TEXT_LIMIT)),
    ),
    "pictures": (
        chat(user([part(ASKED)])),
        chat(user([part(ASKED), {"type": "image_url", "image_url": {"url": "x"}}])),
    ),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME)
def test_the_requests_of_a_conversation_have_one_key(first: Json, second: Json) -> None:
    assert session_key((), first) == session_key((), second)


OTHER: dict[str, tuple[Json, Json]] = {
    "another model": (chat(user()), {**chat(user()), "model": "n"}),
    "another first message": (chat(user("a")), chat(user("b"))),
    "another system prompt": (chat(system("a"), user()), chat(system("b"), user())),
    "another end of a long message": (chat(user("a" * TEXT_LIMIT + "1")), chat(user("a" * TEXT_LIMIT + "2"))),
    "another last part": (
        chat(user([part("a" * TEXT_LIMIT), part("1")])),
        chat(user([part("a" * TEXT_LIMIT), part("2")])),
    ),
    "the same text elsewhere": (chat(system("a"), user("b")), chat(system("ab"), user(""))),
    "a system prompt behind the question": (chat(system("a"), user()), chat(user(), system("a"))),
    "another prompt": ({"model": "m", "prompt": "a"}, {"model": "m", "prompt": "b"}),
    "another first prompt": ({"model": "m", "prompt": ["a", "c"]}, {"model": "m", "prompt": ["b", "c"]}),
    "other texts to embed": ({"model": "m", "input": ["a"]}, {"model": "m", "input": ["b"]}),
    "other tokens": ({"model": "m", "input": [1, 2]}, {"model": "m", "input": [1, 3]}),
    "other lists of tokens": ({"model": "m", "input": [[1, 2]]}, {"model": "m", "input": [[1, 3]]}),
    "the beginning of a name": (chat(user(), prompt_cache_key="s-1"), chat(user(), prompt_cache_key="s-12")),
}


@pytest.mark.parametrize(("first", "second"), OTHER.values(), ids=OTHER)
def test_other_conversations_have_other_keys(first: Json, second: Json) -> None:
    assert session_key((), first) != session_key((), second)


ODD: list[Json] = [
    {},
    {"model": 5, "messages": None},
    {"messages": "text", "input": 5},
    {"messages": [{}, {"role": []}, {"role": "user"}]},
    {"messages": [{"role": "assistant", "content": "a"}]},
    {"messages": [{"role": "user", "content": [{"text": 5.5}, None, {}]}]},
    {"input": {"a": 1}, "prompt": {"id": "p"}},
    {"messages": [{"role": "user", "content": "\ud800"}]},
]


@pytest.mark.parametrize("body", ODD, ids=str)
def test_what_is_no_conversation_has_a_key_too(body: Json) -> None:
    assert len(session_key((), body)) == 32


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["user", "s"])
)
fields = st.sampled_from("model messages input prompt system instructions role content text prompt_cache_key".split())
bodies = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(fields, inner), max_leaves=20)


@given(st.dictionaries(fields, bodies))
def test_any_body_has_a_key(body: Json) -> None:
    """Native upstreams get bodies that were not checked."""
    assert session_key((), body) == session_key((), body) != ""


def test_keys_stay_as_they_are() -> None:
    """Workers and replicas of several versions run side by side."""
    assert hash_beginning(chat(system("s"), user())) == "3aab70af8d6398ed9bad187bee88f97e"


LONG: dict[str, Callable[[int], Json]] = {
    "messages before the user's": lambda size: chat(*[{"role": "assistant"}] * size, user()),
    "system prompts": lambda size: chat(*[system("")] * size, user()),
    "parts without text": lambda size: chat(user([part("")] * size)),
    "a long text": lambda size: chat(system("s" * 1000 * size), user("x" * 1000 * size)),
    "a long name": lambda size: chat(user(), prompt_cache_key="s" * 1000 * size),
}


@pytest.mark.parametrize("build", LONG.values(), ids=LONG)
def test_a_key_costs_no_more_than_reading_the_body(build: Callable[[int], Json]) -> None:
    bodies = {size: build(size) for size in (5000, 5000 * FACTOR)}
    assert_linear(lambda size: session_key((), bodies[size]), 5000)
