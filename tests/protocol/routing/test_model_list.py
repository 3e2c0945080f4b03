from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from argoproxy.errors import PluginFailed, ProxyError, UpstreamProtocolError, UpstreamStatus, UpstreamUnreachable
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.routing.model_list import (
    Listed,
    add_catalog,
    check_model_list,
    find_entry,
    join_pages,
    merge_model_lists,
    wants_catalog,
)
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.protocol.stream.sse import Document

Json = dict[str, Any]
PSEUDO = "model=a,upstream_model_name=x;model=b*,upstream_model_name=x;model=c,n=1;upstream_model_name=x"
ENTRY = {"id": "a", "object": "model", "created": 5, "owned_by": "argoproxy"}
FAILED = UpstreamUnreachable("gone")


class Upstream:
    """An upstream that has some models even when it can't be asked."""

    def __init__(self, name: str = "one", *own: str) -> None:
        self.name = name
        self._own = own

    def aliases(self, model: str) -> Sequence[str]:
        return (model, *self._own) if model.lower() in self._own else (model,)

    is_passthrough = False

    def refuses_mode(self, error: ProxyError) -> bool:
        return isinstance(error, UpstreamStatus) and error.status == 422

    def static_models(self, created: int) -> Sequence[Json]:
        return [{"id": name, "created": created} for name in self._own]


def models(params: str, *upstreams: Upstream, **options: Any) -> Models[Upstream]:
    rules = Rules((RuleSet("LLM_PARAMS", parse_llm_params(params)[0]),))
    return Models([Provider(upstream) for upstream in upstreams or (Upstream(),)], rules, **options)


def listed(*names: Any) -> Document:
    return Document.of({"object": "list", "data": [{"id": name} for name in names], "more": 1})


def ids(document: Document) -> list[Any]:
    return [entry["id"] for entry in document.chunk["data"]]


def test_pseudo_models_join_the_list_once() -> None:
    theirs = Document(b'{"object": "list", "data": [{"id": "m"}, "odd"], "more": 1}')
    shown = merge_model_lists(models(PSEUDO), [theirs], 5)
    assert shown.chunk == {"object": "list", "data": [{"id": "m"}, "odd", ENTRY], "more": 1}
    there = Document(b'{"data": [{"id": "a"}]}')
    assert merge_model_lists(models(PSEUDO), [there], 5) is there
    assert merge_model_lists(models(""), [theirs], 5) is theirs
    assert merge_model_lists(models(PSEUDO), [listed(["a"])], 5).chunk["data"][-1] == ENTRY


def test_what_is_ours_is_listed_where_the_upstream_fails() -> None:
    assert ids(merge_model_lists(models(PSEUDO), [FAILED], 5)) == ["a"]
    assert ids(merge_model_lists(models(PSEUDO, Upstream("one", "own")), [FAILED], 5)) == ["own", "a"]
    with pytest.raises(UpstreamUnreachable):
        merge_model_lists(models(""), [FAILED], 5)


def test_only_allowed_models_are_listed() -> None:
    ruled = models(PSEUDO, Upstream("one", "own"), allowed=AllowList(("a", "own")))
    theirs = Document(b'{"data": [{"id": "x"}, {"id": "own"}, "odd"]}')
    assert ids(merge_model_lists(ruled, [theirs], 5)) == ["own", "a"]
    assert ids(merge_model_lists(ruled, [FAILED], 5)) == ["own", "a"]
    assert ids(merge_model_lists(models("", allowed=AllowList(("none",))), [listed("x")], 5)) == []


ROUTED = Rules((RuleSet("models", (Rule("l*", upstreams=("two",)), Rule("both", upstreams=("one", "two")))),))
LISTS: dict[str, tuple[list[Listed], list[str]]] = {
    "each shows what it answers for": ([listed("m", "llama"), listed("m", "llama", "lima")], ["m", "llama", "lima"]),
    "a dead one is left out": ([FAILED, listed("m", "llama")], ["llama"]),
    "the default one is dead": ([listed("m", "llama"), FAILED], ["m"]),
    "one that either answers for": ([FAILED, listed("both")], ["both"]),
    "a name once": ([listed("both", "both"), listed("both")], ["both"]),
    "what is no name": ([listed(5, "m"), listed(None, "l")], ["m", "l"]),
}


@pytest.mark.parametrize(("lists", "shown"), LISTS.values(), ids=LISTS.keys())
def test_several_upstreams_are_joined(lists: list[Listed], shown: list[str]) -> None:
    two = Models([Provider(Upstream("one")), Provider(Upstream("two"))], ROUTED)
    assert ids(merge_model_lists(two, lists, 5)) == shown


def test_the_error_of_the_default_upstream_passes_where_nothing_is_known() -> None:
    errors: list[ProxyError] = [UpstreamUnreachable("first"), UpstreamUnreachable("second")]
    two = Models([Provider(Upstream("one")), Provider(Upstream("two"))], ROUTED)
    with pytest.raises(UpstreamUnreachable, match="first"):
        merge_model_lists(two, errors, 5)


def test_one_model_of_ours() -> None:
    shown = find_entry(models(PSEUDO), "a", 5)
    assert shown
    assert shown.chunk == ENTRY
    assert find_entry(models(""), "a", 5) is None
    own = find_entry(models(PSEUDO, Upstream("one", "own")), "OWN", 5)
    assert own
    assert own.chunk == {"id": "own", "created": 5}


def test_pages_are_joined() -> None:
    joined = Document(join_pages([listed("a", "b").raw, listed("c").raw]))
    assert (ids(joined), joined.chunk["more"]) == (["a", "b", "c"], 1)
    with pytest.raises(UpstreamProtocolError):
        join_pages([listed("a").raw, b'{"data": 5}'])


def test_a_list_that_is_none_is_told() -> None:
    with pytest.raises(UpstreamProtocolError, match="no list of models"):
        check_model_list(Document(b'{"data": {}}'))
    assert check_model_list(document := listed("m")) is document


def test_an_upstream_that_fails_to_tell_what_it_has_is_left_out() -> None:
    class Failing(Upstream):
        def static_models(self, created: int) -> Sequence[Json]:
            raise PluginFailed("no")

    assert ids(merge_model_lists(models("", Upstream("one"), Failing("two")), [listed("m"), FAILED], 5)) == ["m"]


def test_r15_codex_gets_the_list_that_it_can_read() -> None:
    assert wants_catalog("a=b&client_version=0.145.0")
    assert wants_catalog("client_version=")
    assert not wants_catalog("client=version")
    everything, some = models(""), models("", allowed=AllowList(("gpt-*",)))
    plain = {"object": "list", "data": [{"id": "m"}]}
    assert add_catalog(Document.of(plain), everything).chunk == {**plain, "models": []}
    theirs = Document.of({**plain, "models": [{"model": "m"}, "m", {"slug": 1}]})
    assert add_catalog(theirs, everything).chunk == {**plain, "models": []}, "llama.cpp's own form is another one"
    known = {**plain, "models": [{"slug": "gpt-6", "priority": 1}, {"slug": "secret"}]}
    assert add_catalog(Document.of(known), everything).chunk == known
    assert add_catalog(Document.of(known), some).chunk["models"] == [{"slug": "gpt-6", "priority": 1}]
