from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import BadRequest, ModelNotAllowed, UpstreamProtocolError
from argoproxy.protocol.allowance import AllowList
from argoproxy.protocol.call import Call
from argoproxy.protocol.llm_params import parse_llm_params
from argoproxy.protocol.models import Models
from argoproxy.protocol.sse import Document
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.timeouts import Timeouts

Json = dict[str, Any]


def call(**body: Any) -> Call:
    body = {"model": "any", **body}
    return Call("id", 1, "/v1/chat/completions", "", (), body, b"as it came")


class Upstream:
    """An upstream that has one model with two names."""

    def spellings(self, model: str) -> Sequence[str]:
        return (model, "argo:g", "g") if model in ("G", "argo:g", "g") else (model,)

    def own_models(self, created: int) -> Sequence[Json]:
        return ()


class WithModels(Upstream):
    """The same, telling of its model."""

    def own_models(self, created: int) -> Sequence[Json]:
        return ({"id": "argo:g", "created": created},)


def models(params: str, **options: Any) -> Models[Upstream]:
    return Models(options.pop("upstream", Upstream()), parse_llm_params(params)[0], **options)


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
    assert isinstance(route.upstream, Upstream)
    assert route.call.body == {"model": "any", **sent}
    assert asked.body == {"model": "any", **body}
    assert (route.call is asked) == (sent == body)


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


@pytest.mark.parametrize("model", ["", "  ", 5, None, ["a"]])
def test_a_missing_model_is_refused(model: Any) -> None:
    for resolve in (models("").resolve, models("").resolve_by_name):
        with pytest.raises(BadRequest) as caught:
            resolve(call(model=model))
        assert caught.value.param == "model"


def test_only_allowed_models_are_resolved_and_listed() -> None:
    ruled = models(PSEUDO, allowed=AllowList(("a", "argo:*")), upstream=WithModels())
    assert ruled.resolve(call(model="a"))[0].call.model == "x", "by the name that was asked for"
    with pytest.raises(ModelNotAllowed):
        ruled.resolve(call(model="x"))
    with pytest.raises(ModelNotAllowed):
        ruled.resolve_by_name(call(model="g"))
    listed = Document(b'{"data": [{"id": "x"}, {"id": "argo:g"}, "odd"]}')
    assert [entry["id"] for entry in ruled.joined(listed, 5).chunk["data"]] == ["argo:g", "a"]
    alone = ruled.alone(5)
    assert alone
    assert [entry["id"] for entry in alone.chunk["data"]] == ["argo:g", "a"]


def test_a_request_may_ask_for_its_own_time_outs() -> None:
    ruled = models("", timeouts=Timeouts(1, 2, 3, 4))
    assert ruled.resolve(call())[0].timeouts == Timeouts(1, 2, 3, 4)
    assert ruled.resolve(replace(call(), timeout_s=9))[0].timeouts == Timeouts(1, 9, 9, 4)


PSEUDO = "model=a,upstream_model_name=x;model=b*,upstream_model_name=x;model=c,n=1;upstream_model_name=x"


def test_pseudo_models_are_names_with_another_name_behind_them() -> None:
    alone = models(PSEUDO).alone(5)
    assert alone
    assert [entry["id"] for entry in alone.chunk["data"]] == ["a"]
    assert models("").alone(5) is None
    assert models("").entry("a", 5) is None


def test_what_the_upstream_has_by_itself_is_listed_first() -> None:
    ruled = models(PSEUDO, upstream=WithModels())
    alone, entry = ruled.alone(5), ruled.entry("G", 5)
    assert alone
    assert [listed["id"] for listed in alone.chunk["data"]] == ["argo:g", "a"]
    assert entry
    assert entry.chunk == {"id": "argo:g", "created": 5}


@pytest.mark.parametrize(
    ("params", "asked", "n"),
    [
        ("model=g,n=1", "G", 1),
        ("model=argo:g,n=1", "G", 1),
        ("model=argo:*,n=1", "G", 1),
        ("model=g,n=1;model=G,n=2", "G", 2),
        ("model=argo:*,n=1;model=G*,n=2", "G", 2),
        ("model=G*,n=1;model=g,n=2", "G", 2),
        ("model=g,n=1", "h", None),
    ],
)
def test_a_rule_may_call_a_model_by_any_of_its_names(params: str, asked: str, n: int | None) -> None:
    assert models(params).resolve(call(model=asked))[0].call.body.get("n") == n


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": None}])
def test_the_default_model_is_that_of_requests_that_name_none(body: Json) -> None:
    ruled = models("model=mine,n=1", default_model="mine")
    asked = replace(call(), body=body)
    for resolved in (ruled.resolve(asked), ruled.resolve_by_name(asked)):
        assert resolved[0].call.body == {"model": "mine", "n": 1}
        assert resolved[0].call.asked == "mine"
    assert ruled.resolve(call(model="other"))[0].call.body == {"model": "other"}


def test_pseudo_models_join_the_list_once() -> None:
    entry = {"id": "a", "object": "model", "created": 5, "owned_by": "argoproxy"}
    listed = Document(b'{"object": "list", "data": [{"id": "m"}, "odd"], "more": 1}')
    assert models(PSEUDO).joined(listed, 5).chunk == {"object": "list", "data": [{"id": "m"}, "odd", entry], "more": 1}
    there = Document(b'{"data": [{"id": "a"}]}')
    assert models(PSEUDO).joined(there, 5) is there
    assert models("").joined(listed, 5) is listed
    odd = Document(b'{"data": [{"id": ["a"]}]}')
    assert models(PSEUDO).joined(odd, 5).chunk["data"][-1] == entry
    shown = models(PSEUDO).entry("a", 5)
    assert shown
    assert shown.chunk == entry


def test_a_list_that_is_none_is_told() -> None:
    with pytest.raises(UpstreamProtocolError, match="no list of models"):
        models("").joined(Document(b'{"data": {}}'), 5)
