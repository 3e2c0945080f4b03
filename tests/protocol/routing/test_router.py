from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import (
    BadRequest,
    ModelNotAllowed,
    ProxyError,
    UpstreamStatus,
)
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.routing.call import LONGEST_MODEL, Call
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.routing.modes import Mode
from argoproxy.protocol.routing.route import Credentials, Provider
from argoproxy.protocol.routing.router import MAX_PLANS, Models
from argoproxy.protocol.routing.rules import History, Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import TimeoutOverrides, Timeouts

Json = dict[str, Any]


def call(**body: Any) -> Call:
    body = {"model": "any", **body}
    return Call("id", 1, "/v1/chat/completions", "", (), body, b"as it came")


def embedding(**body: Any) -> Call:
    return replace(call(**body), path="/v1/embeddings")


class Upstream:
    """An upstream that has one model with two names."""

    name = "one"

    def aliases(self, model: str) -> Sequence[str]:
        return (model, "argo:g", "g") if model in ("G", "argo:g", "g") else (model,)

    is_passthrough = False

    def refuses_mode(self, error: ProxyError) -> bool:
        return isinstance(error, UpstreamStatus) and error.status == 422

    def static_models(self, created: int) -> Sequence[Json]:
        return ()


class WithModels(Upstream):
    """The same, telling of its model."""

    def static_models(self, created: int) -> Sequence[Json]:
        return ({"id": "argo:g", "created": created},)


def models(params: str, **options: Any) -> Models[Upstream]:
    rules = Rules((RuleSet("LLM_PARAMS", parse_llm_params(params)[0]),))
    timeouts = options.pop("timeouts", Timeouts())
    return Models([Provider(options.pop("upstream", Upstream()), timeouts)], rules, **options)


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


def test_plans_are_remembered_for_so_many_models_and_no_endless_names() -> None:
    models = Models([Provider(Upstream())])
    plan = models.plan_for("m", "/v1/completions")
    assert models.plan_for("m", "/v1/completions") is plan
    endless = "m" * (LONGEST_MODEL + 1)
    assert models.plan_for(endless, "") == plan
    assert models.plan_for(endless, "") is not models.plan_for(endless, "")
    for number in range(MAX_PLANS):
        models.plan_for(f"m{number}", "")
    assert models.plan_for("m", "/v1/completions") is not plan


def test_the_default_is_not_for_embeddings() -> None:
    ruled = models("temperature=1;model=emb*,dimensions=5")
    assert ruled.resolve(embedding(model="other"))[0].call.body == {"model": "other"}
    assert ruled.resolve(embedding(model="emb-1"))[0].call.body == {"model": "emb-1", "dimensions": 5}


PAIR = (TagPair("<t>", "</t>"),)


@pytest.mark.parametrize(
    ("params", "think_filter", "settings"),
    [
        ("", True, ReasoningSettings(tags=PAIR)),
        ("", False, ReasoningSettings(Reasoning.KEEP, tags=PAIR)),
        ("enable_think_tag_filtering=false", True, ReasoningSettings(Reasoning.KEEP, tags=PAIR)),
        ("enable_think_tag_filtering=true", False, ReasoningSettings(tags=PAIR)),
        ("think_tag_start=[", True, ReasoningSettings(tags=(TagPair("[", "</t>"),))),
        ("think_tag_start=[,think_tag_end=]", True, ReasoningSettings(tags=(TagPair("[", "]"),))),
    ],
)
def test_what_becomes_of_thoughts(params: str, think_filter: bool, settings: ReasoningSettings) -> None:
    ruled = models(params, tags=TagPair("<t>", "</t>"), think_filter=think_filter)
    assert ruled.resolve(call(model="a"))[0].reasoning == settings


def test_a_text_starts_as_the_rule_says_else_the_process() -> None:
    ruled = models("model=a,think_starts_open=true;model=b,n=1", opening=Opening.AUTO)
    assert [ruled.resolve(call(model=name))[0].reasoning.opening for name in "abc"] == ["open", "auto", "auto"]


def test_a_rule_says_all_of_thoughts() -> None:
    rule = Rule(
        "a",
        reasoning=Reasoning.FIELD,
        reasoning_field="reasoning",
        think_starts_open=Opening.AUTO,
        think_tag_start=("[", "{"),
        think_tag_end=("]", "}"),
        enable_think_tag_filtering=False,
    )
    told = several(rule).resolve(call(model="a"))[0].reasoning
    pairs = (TagPair("[", "]"), TagPair("{", "}"))
    assert told == ReasoningSettings(Reasoning.FIELD, "reasoning", pairs, Opening.AUTO)


@pytest.mark.parametrize(
    ("history", "said"), [(History.STRIP, "so"), (History.KEEP, "<think>x</think>so"), (None, None)]
)
def test_earlier_thoughts_go_up_or_not(history: History | None, said: str | None) -> None:
    messages = [{"role": "assistant", "content": "<think>x</think>so"}, {"role": "user", "content": "<think>y</think>"}]
    asked = call(model="a", messages=messages)
    (route,) = several(Rule("a", history=history)).resolve(asked)
    assert route.call.body["messages"] == [{**messages[0], "content": said or messages[0]["content"]}, messages[1]]
    assert several(Rule("a", history=history)).resolve(call(model="a"))[0].call.body == {"model": "a"}


@pytest.mark.parametrize("model", ["", "  ", 5, None, ["a"]])
def test_a_missing_model_is_refused(model: Any) -> None:
    for asked in (call(model=model), embedding(model=model)):
        with pytest.raises(BadRequest) as caught:
            models("").resolve(asked)
        assert caught.value.param == "model"


def test_only_allowed_models_are_resolved() -> None:
    ruled = models(PSEUDO, allowed=AllowList(("a", "argo:*")), upstream=WithModels())
    assert ruled.resolve(call(model="a"))[0].call.model == "x", "by the name that was asked for"
    with pytest.raises(ModelNotAllowed):
        ruled.resolve(call(model="x"))
    with pytest.raises(ModelNotAllowed):
        ruled.resolve(embedding(model="g"))


def test_a_request_may_ask_for_its_own_time_outs() -> None:
    ruled = models("", timeouts=Timeouts(1, 2, 3, 4))
    assert ruled.resolve(call())[0].timeouts == Timeouts(1, 2, 3, 4)
    assert ruled.resolve(replace(call(), timeout_s=9))[0].timeouts == Timeouts(1, 9, 9, 4)


PSEUDO = "model=a,upstream_model_name=x;model=b*,upstream_model_name=x;model=c,n=1;upstream_model_name=x"


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
    for resolved in (ruled.resolve(asked), ruled.resolve(replace(asked, path="/v1/embeddings"))):
        assert resolved[0].call.body == {"model": "mine", "n": 1}
        assert resolved[0].call.requested_model == "mine"
    assert ruled.resolve(call(model="other"))[0].call.body == {"model": "other"}


def several(*rules: Rule, **credentials: Credentials) -> Models[Upstream]:
    """Three upstreams: one, two, three."""
    providers: list[Provider[Upstream]] = [
        Provider(Other(name), Timeouts(place, place, place), credentials.get(name, Credentials.FORWARDED))
        for place, name in enumerate(("one", "two", "three"), 1)
    ]
    return Models(providers, Rules((RuleSet("models", rules),)))


class Other(Upstream):
    """One of several."""

    def __init__(self, name: str) -> None:
        self.name = name

    def aliases(self, model: str) -> Sequence[str]:
        return super().aliases(model) if self.name == "two" else (model,)


def ways(models: Models[Upstream], asked: Call) -> list[str]:
    return [route.upstream.name for route in models.resolve(asked)]


def test_a_rule_names_who_answers() -> None:
    ruled = several(Rule("a*", upstreams=("two",)), Rule("b", upstreams=("three", "one")))
    assert ways(ruled, call(model="a1")) == ["two"]
    assert ways(ruled, call(model="b")) == ["three", "one"]
    assert ways(ruled, call(model="c")) == ["one"]
    assert [ruled.provider_of(name).upstream.name for name in ("a", "b", "c", "")] == ["two", "three", "one", "one"]
    assert ruled.leads_elsewhere
    assert not several(Rule("a", {"n": 1})).leads_elsewhere
    assert [ruled.serves("b", provider.upstream) for provider in ruled.providers] == [True, False, True]


def test_names_are_those_of_the_default_upstream() -> None:
    """`argo:*` leads to the gateway; OpenAI's own `gpt-4o`, which the gateway has too, does not."""
    ruled = several(Rule("argo:*", upstreams=("two",)))
    assert ways(ruled, call(model="argo:g")) == ["two"]
    assert ways(ruled, call(model="g")) == ["one"]


def test_time_outs_are_the_rules_then_the_upstreams() -> None:
    ruled = several(Rule("a", upstreams=("two",), timeouts=TimeoutOverrides(idle_s=9)))
    assert ruled.resolve(call(model="a"))[0].timeouts == Timeouts(2, 2, 9)
    assert ruled.resolve(replace(call(model="a"), timeout_s=5))[0].timeouts == Timeouts(2, 5, 5)
    assert ruled.resolve(call(model="b"))[0].timeouts == Timeouts(1, 1, 1)


def test_a_clients_credentials_go_where_they_may() -> None:
    ruled = several(Rule("a", upstreams=("two", "three")), two=Credentials.DROPPED)
    headers = (("Authorization", "Bearer k"), ("X-Api-Key", "k"), ("X-Else", "e"))
    routes = ruled.resolve(replace(call(model="a"), headers=headers))
    assert [route.call.headers for route in routes] == [(("X-Else", "e"),), headers]
    request = ClientRequest("id", 1, "GET", "/v1/models", "", headers, BytesBody(b""))
    assert [provider.withhold_credentials(request).headers for provider in ruled.providers] == [
        headers,
        (("X-Else", "e"),),
        headers,
    ]


def test_only_chats_and_completions_have_another_mode() -> None:
    for asked in (embedding(), replace(call(), path="/v1/chat")):
        assert several().resolve(asked)[0].other_mode is None


@pytest.mark.parametrize(
    ("process", "rule", "header", "stream"),
    [
        (Mode.OFF, None, "", False),
        (Mode.STREAM, None, "", True),
        (Mode.STREAM, Mode.OFF, "", False),
        (Mode.OFF, Mode.STREAM, "", True),
        (Mode.STREAM, Mode.STREAM, "off", False),
        (Mode.OFF, None, "STREAM", True),
    ],
)
def test_a_request_says_its_mode_before_a_rule_and_a_rule_before_its_upstream(
    process: Mode, rule: Mode | None, header: str, stream: bool
) -> None:
    ruled = Models([Provider(Upstream(), mode=process)], Rules((RuleSet("models", (Rule("a", mode=rule),)),)))
    headers = (("X-Upstream-Mode", header),) if header else ()
    assert ruled.resolve(replace(call(model="a"), headers=headers))[0].call.stream is stream


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(BadRequest, match="X-Upstream-Mode"):
        models("").resolve(replace(call(), headers=(("x-upstream-mode", "sometimes"),)))


def test_rules_bound_to_one_upstream_lead_nowhere_else() -> None:
    ruled = several(Rule("a", {"n": 1}, upstreams=("two",)))
    (route,) = ruled.bound_to(ruled.providers[2]).resolve(call(model="a"))
    assert (route.upstream.name, route.call.body["n"]) == ("three", 1)


def test_an_upstream_that_learned_takes_the_place_of_its_former_self() -> None:
    learned = Other("two")
    known = several().with_upstream(learned)
    assert known.providers[1].upstream is learned
    assert known.providers[1].timeouts == Timeouts(2, 2, 2)
    assert known.providers[0].upstream.name == "one"
