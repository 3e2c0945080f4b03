from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.call import Call
from argoproxy.protocol.llm_params import parse_llm_params
from argoproxy.protocol.models import Models
from argoproxy.protocol.sse import Document
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.timeouts import Timeouts

Json = dict[str, Any]


def call(**body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), body, b"as it came")


def models(params: str, **options: Any) -> Models[str]:
    return Models("upstream", parse_llm_params(params)[0], **options)


USER = {"role": "user", "content": "Hi"}
RULED: list[tuple[str, Json, Json]] = [
    ("model=a,temperature=0.5", {"model": "a"}, {"model": "a", "temperature": 0.5}),
    ("model=a,temperature=0.5", {"model": "a", "temperature": 1}, {"model": "a", "temperature": 0.5}),
    ("model=a,temperature=0.5", {"model": "b"}, {"model": "b"}),
    ("model=a*,n=1;model=ab,n=2", {"model": "ab"}, {"model": "ab", "n": 2}),
    ("model=a*,n=1;model=ab*,n=2", {"model": "abc"}, {"model": "abc", "n": 1}),
    ("model=A*,n=1", {"model": "abc"}, {"model": "abc"}),
    ("model=a,n=1;n=2", {"model": "a"}, {"model": "a", "n": 1}),
    ("model=a,n=1;n=2", {"model": "b"}, {"model": "b", "n": 2}),
    ("n=2", {}, {"n": 2}),
    ("n=2", {"model": 5}, {"model": 5, "n": 2}),
    ("model=a,upstream_model_name=b", {"model": "a"}, {"model": "b"}),
    ("model=a,upstream_model_name=b;model=b,n=1", {"model": "a"}, {"model": "b"}),
    (
        "append_to_last_user_message=\\n/x",
        {"messages": [USER, {"role": "assistant", "content": "y"}]},
        {"messages": [{"role": "user", "content": "Hi\n/x"}, {"role": "assistant", "content": "y"}]},
    ),
    (
        "append_to_last_user_message=/x",
        {"messages": [USER, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {
            "messages": [
                USER,
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "/x"}]},
            ]
        },
    ),
    (
        "append_to_last_user_message=/x",
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": "/x"}]},
    ),
    (
        "append_to_last_user_message=/x",
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": "/x"}]},
    ),
    (
        "append_to_last_user_message=/x",
        {"messages": ["odd", {"role": "system", "content": "s"}]},
        {"messages": ["odd", {"role": "system", "content": "s"}, {"role": "user", "content": "/x"}]},
    ),
    ("append_to_last_user_message=/x", {"messages": "odd"}, {"messages": "odd"}),
    ("append_to_last_user_message=/x", {"prompt": "p"}, {"prompt": "p"}),
]


@pytest.mark.parametrize(("params", "body", "sent"), RULED)
def test_what_a_rule_makes_of_a_call(params: str, body: Json, sent: Json) -> None:
    asked = call(**body)
    (route,) = models(params).resolve(asked)
    assert route.upstream == "upstream"
    assert route.call.body == sent
    assert asked.body == body
    assert (route.call is asked) == (sent == body)
    assert (route.call.raw == b"as it came") == (sent == body)


def test_the_default_is_not_for_embeddings() -> None:
    ruled = models("temperature=1;model=emb*,dimensions=5")
    assert ruled.resolve_by_name(call(model="other"))[0].call.body == {"model": "other"}
    assert ruled.resolve_by_name(call(model="emb-1"))[0].call.body == {"model": "emb-1", "dimensions": 5}


@pytest.mark.parametrize(
    ("params", "think_filter", "tags"),
    [
        ("", True, TagPair("<t>", "</t>")),
        ("", False, None),
        ("enable_think_tag_filtering=false", True, None),
        ("enable_think_tag_filtering=true", False, TagPair("<t>", "</t>")),
        ("think_tag_start=[", True, TagPair("[", "</t>")),
        ("think_tag_start=[,think_tag_end=]", True, TagPair("[", "]")),
    ],
)
def test_which_tags_are_stripped(params: str, think_filter: bool, tags: TagPair | None) -> None:
    ruled = models(params, tags=TagPair("<t>", "</t>"), think_filter=think_filter)
    assert ruled.resolve(call(model="a"))[0].tags == tags


def test_a_request_may_ask_for_its_own_time_outs() -> None:
    ruled = models("", timeouts=Timeouts(1, 2, 3, 4))
    assert ruled.resolve(call())[0].timeouts == Timeouts(1, 2, 3, 4)
    assert ruled.resolve(replace(call(), timeout_s=9))[0].timeouts == Timeouts(1, 9, 9, 4)


PSEUDO = "model=a,upstream_model_name=x;model=b*,upstream_model_name=x;model=c,n=1;upstream_model_name=x"


def test_pseudo_models_are_names_with_another_name_behind_them() -> None:
    assert models(PSEUDO).names() == ("a",)


def test_pseudo_models_join_the_list_once() -> None:
    entry = {"id": "a", "object": "model", "created": 5, "owned_by": "argoproxy"}
    listed = Document(b'{"object": "list", "data": [{"id": "m"}, "odd"], "more": 1}')
    assert models(PSEUDO).joined(listed, 5).chunk == {"object": "list", "data": [{"id": "m"}, "odd", entry], "more": 1}
    there = Document(b'{"data": [{"id": "a"}]}')
    assert models(PSEUDO).joined(there, 5) is there
    assert models("").joined(listed, 5) is listed
    assert models(PSEUDO).alone(5).chunk == {"object": "list", "data": [entry]}
    assert models(PSEUDO).entry("a", 5).chunk == entry


def test_a_list_that_is_none_is_told() -> None:
    with pytest.raises(UpstreamProtocolError, match="no list of models"):
        models("").joined(Document(b'{"data": {}}'), 5)
