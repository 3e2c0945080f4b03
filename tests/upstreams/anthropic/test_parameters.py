"""Parameters, as tables."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import BadRequest
from argoproxy.upstreams.anthropic.messages import LaterSystem
from argoproxy.upstreams.anthropic.parameters import make_messages_body
from tests.support.anthropic_replies import make_call

Json = dict[str, Any]


def messages_body(body: Json, max_tokens: int | None = None) -> Json:
    return make_messages_body(make_call(**body), max_tokens, LaterSystem.HOIST)


USER = {"role": "user", "content": "Hi"}
BASE: Json = {"model": "claude", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
SHAPED = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
BARE = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
BUDGET = {"type": "enabled", "budget_tokens": 2048}
MARK = {"type": "ephemeral", "ttl": "1h"}
CLEAR_THINKING, CLEAR_TOOLS = {"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}
CUSTOM = {"type": "custom", "custom": {"name": "p", "description": "d"}}
FREE = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
LOCATION = {"type": "approximate", "approximate": {"country": "DE"}}


SEARCH = {"type": "web_search_20250305", "name": "web_search"}
GRAMMAR = {"syntax": "lark", "definition": "start: A"}
FUNCTION = {"name": "f", "arguments": "{}"}
CALLS = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": FUNCTION}]}

PARAMETERS: list[tuple[str, Json, Json]] = [
    ("nothing said", {}, {"max_tokens": 4096}),
    ("null says nothing", {"max_tokens": None, "temperature": None, "stop": None, "tools": None, "n": None}, {}),
    ("max_tokens", {"max_tokens": 5}, {"max_tokens": 5}),
    ("max_completion_tokens first", {"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
    ("none at all", {"max_tokens": 0}, {"max_tokens": 0}),
    ("a tier", {"service_tier": "auto"}, {"service_tier": "auto"}),
    ("the standard tier", {"service_tier": "default"}, {"service_tier": "standard_only"}),
    ("a tier of OpenAI's", {"service_tier": "flex"}, {}),
    ("both, of which newer models accept one", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}),
    ("a stream", {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
    ("no stream", {"stream": False}, {}),
    ("temperature", {"temperature": 0}, {"temperature": 0}),
    ("temperature too high", {"temperature": 1.7}, {"temperature": 1}),
    ("top_p", {"top_p": 0.5}, {"top_p": 0.5}),
    ("top_p that says nothing", {"top_p": 1.0, "temperature": 0.5}, {"temperature": 0.5}),
    ("one stop", {"stop": "END"}, {"stop_sequences": ["END"]}),
    ("stops", {"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
    ("user", {"user": "u"}, {"metadata": {"user_id": "u"}}),
    ("safety_identifier first", {"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
    ("one answer", {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"]}, {}),
    ("what has no words", {"seed": 1, "presence_penalty": 1, "logit_bias": {"1": 2}, "odd": 1, "store": True}, {}),
    (
        "Anthropic's own",
        {"top_k": 3, "cache_control": MARK, "speed": "fast", "mcp_servers": [{"name": "m"}]},
        {"top_k": 3, "cache_control": MARK, "speed": "fast", "mcp_servers": [{"name": "m"}]},
    ),
    ("plain text", {"response_format": {"type": "text"}}, {}),
    (
        "a schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ),
    ("effort", {"reasoning_effort": "high"}, {"output_config": {"effort": "high"}, "thinking": ADAPTIVE}),
    ("least effort", {"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}, "thinking": ADAPTIVE}),
    (
        "no effort",
        {"reasoning_effort": "none", "temperature": 0.5},
        {"thinking": {"type": "disabled"}, "temperature": 0.5},
    ),
    (
        "own words first",
        {"reasoning_effort": "high", "thinking": BUDGET, "output_config": {"effort": "max"}},
        {"output_config": {"effort": "max"}, "thinking": BUDGET},
    ),
    (
        "thinking has a temperature of its own",
        {"thinking": BUDGET, "temperature": 0.5, "top_k": 5, "top_p": 0.9},
        {"thinking": BUDGET},
    ),
    ("a top_p that thinking accepts", {"thinking": BUDGET, "top_p": 0.95}, {"thinking": BUDGET, "top_p": 0.95}),
    (
        "M28: edits that need thinking",
        {"context_management": {"edits": [CLEAR_THINKING, CLEAR_TOOLS]}},
        {"context_management": {"edits": [CLEAR_TOOLS]}},
    ),
    ("M28: only edits that need thinking", {"context_management": {"edits": [CLEAR_THINKING]}}, {}),
    (
        "edits with thinking",
        {"context_management": {"edits": [CLEAR_THINKING]}, "thinking": BUDGET},
        {"context_management": {"edits": [CLEAR_THINKING]}, "thinking": BUDGET},
    ),
    ("tools", {"tools": [TOOL], "tool_choice": "auto"}, {"tools": [SHAPED], "tool_choice": {"type": "auto"}}),
    ("no choice", {"tools": [TOOL]}, {"tools": [SHAPED]}),
    ("a must", {"tools": [TOOL], "tool_choice": "required"}, {"tools": [SHAPED], "tool_choice": {"type": "any"}}),
    (
        "none",
        {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        {"tools": [SHAPED], "tool_choice": {"type": "none"}},
    ),
    (
        "a named one",
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [SHAPED], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    (
        "a named one as in Responses",
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [SHAPED], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    (
        "one call at a time",
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tools": [SHAPED], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    (
        "one call that must be",
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [SHAPED], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    (
        "M29: a search, chosen by its name",
        {"web_search_options": {"user_location": LOCATION}, "tool_choice": {"type": "function", "name": "web_search"}},
        {
            "tools": [{**SEARCH, "user_location": {"type": "approximate", "country": "DE"}}],
            "tool_choice": {"type": "tool", "name": "web_search"},
        },
    ),
    ("a search", {"web_search_options": {}}, {"tools": [SEARCH]}),
    ("a custom tool", {"tools": [CUSTOM]}, {"tools": [{"name": "p", "description": "d", "input_schema": FREE}]}),
    (
        "a custom tool with a grammar",
        {"tools": [{"type": "custom", "name": "p", "format": {"type": "grammar", "grammar": GRAMMAR}}]},
        {
            "tools": [
                {"name": "p", "description": "The input follows this lark grammar:\nstart: A", "input_schema": FREE}
            ]
        },
    ),
    (
        "allowed tools",
        {
            "tools": [TOOL, CUSTOM],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
        },
        {"tools": [SHAPED], "tool_choice": {"type": "any"}},
    ),
    ("a choice of nothing", {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
    (
        "a bare tool",
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [BARE]},
    ),
    (
        "a tool as in Responses",
        {"tools": [{"type": "function", "name": "f"}]},
        {"tools": [BARE]},
    ),
    (
        "a strict tool with a mark",
        {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}, "cache_control": MARK}]},  # type: ignore[dict-item]
        {"tools": [{**SHAPED, "strict": True, "cache_control": MARK}]},
    ),
    (
        "a tool in Anthropic's words",
        {"tools": [{**SHAPED, "type": "custom"}]},
        {"tools": [{**SHAPED, "type": "custom"}]},
    ),
    (
        "a tool of Anthropic's",
        {"tools": [{"type": "bash_1", "name": "bash"}]},
        {"tools": [{"type": "bash_1", "name": "bash"}]},
    ),
    (
        "a must and no thinking",
        {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "low", "temperature": 0.5},
        {"tools": [SHAPED], "tool_choice": {"type": "any"}, "output_config": {"effort": "low"}, "temperature": 0.5},
    ),
]


@pytest.mark.parametrize(("asked", "sent"), [case[1:] for case in PARAMETERS], ids=[case[0] for case in PARAMETERS])
def test_parameters(asked: Json, sent: Json) -> None:
    body = {**BASE, **asked}
    before = deepcopy(body)
    turns = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert messages_body(body, 4096) == {"model": "claude", "max_tokens": 4096, "messages": turns, **sent}
    assert body == before


def test_thinking_on_a_budget_is_left_out_where_its_thoughts_are_lost() -> None:
    asked = {"messages": [USER, CALLS, {"role": "tool", "tool_call_id": "c1", "content": "1"}], "temperature": 0.5}
    assert "thinking" not in messages_body({**asked, "thinking": BUDGET}, 9000)
    assert messages_body({**asked, "thinking": BUDGET}, 9000)["temperature"] == 0.5
    assert messages_body({**asked, "reasoning_effort": "low"}, 9000)["thinking"] == ADAPTIVE
    later = [*asked["messages"], {"role": "assistant", "content": "1."}, USER]  # type: ignore[misc]
    assert messages_body({"messages": later, "thinking": BUDGET}, 9000)["thinking"] == BUDGET


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"stop": "\n"}, "stop"),
        ({"stop": ["a", " "]}, "stop"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"tools": [TOOL, {"type": "function", "function": {}}]}, "tools[1]"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    ],
)
def test_what_can_not_be_said_is_refused_and_named(asked: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        messages_body({**BASE, **asked}, 9)
    assert caught.value.param == param


THOUGHT = {"type": "reasoning.text", "text": "Hm", "signature": "Eq==", "format": "anthropic-claude-v1", "index": 0}


def test_thinking_on_a_budget_goes_on_after_tool_calls_that_bring_their_thoughts() -> None:
    asked = [USER, {**CALLS, "reasoning_details": [THOUGHT]}, {"role": "tool", "tool_call_id": "c1", "content": "1"}]
    body = messages_body({"messages": asked, "thinking": BUDGET})
    assert body["thinking"] == BUDGET
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("claude-opus-4-6", "high", ADAPTIVE),
        ("claude-sonnet-5", "high", ADAPTIVE),
        ("my-model", "high", ADAPTIVE),
        ("claude-haiku-4-5-20251001", "low", {"type": "enabled", "budget_tokens": 2000}),
        ("claude-sonnet-4-20250514", "medium", {"type": "enabled", "budget_tokens": 5000}),
        ("claude-3-7-sonnet-latest", "minimal", {"type": "enabled", "budget_tokens": 1024}),
        ("claude-haiku-4-5", "none", {"type": "disabled"}),
        ("claude-3-5-haiku-20241022", "high", None),
        ("claude-2.1", "none", None),
    ],
)
def test_m40_an_effort_becomes_what_the_model_knows(model: str, effort: str, thinking: Json | None) -> None:
    body = messages_body({**BASE, "model": model, "reasoning_effort": effort, "max_tokens": 10_000})
    assert body.get("thinking") == thinking
    assert ("output_config" in body) == (thinking == ADAPTIVE)


@pytest.mark.parametrize(
    ("asked", "budget", "max_tokens", "expected"),
    [
        (9000, 500, 9000, 1024),
        (9000, 9000, 9000, 4500),
        (1500, 2000, 1500, 1024),
        (1024, 500, 1024, None),
        (None, 5000, 8192, 5000),
        (None, 20_000, 28_192, 20_000),
        ("x", 500, "x", 500),
    ],
)
def test_m30_a_budget_is_brought_between_its_limits(asked: Any, budget: int, max_tokens: Any, expected: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    body = messages_body({**BASE, "model": "local", "max_tokens": asked, "thinking": thinking})
    assert body["max_tokens"] == max_tokens
    assert body.get("thinking", {}).get("budget_tokens") == expected


@pytest.mark.parametrize(
    ("model", "max_tokens"),
    [
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-opus-4-6", 32_000),
        ("claude", 32_000),
        ("deepseek-chat", 8192),
    ],
)
def test_each_model_has_a_default_for_max_tokens(model: str, max_tokens: int) -> None:
    assert messages_body({**BASE, "model": model})["max_tokens"] == max_tokens
    assert messages_body({**BASE, "model": model}, 7)["max_tokens"] == 7


def marked(words: str) -> Json:
    return {"type": "text", "text": words, "cache_control": MARK}


def test_m27_no_more_than_four_cache_marks() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": [marked("r")], "cache_control": MARK}
    messages = [
        {"role": "system", "content": [marked("s")]},
        {"role": "user", "content": [marked("a"), marked("b")]},
        CALLS,
        result,
        {"role": "user", "content": [marked("c")]},
    ]
    body = messages_body({"messages": messages, "tools": [{**TOOL, "cache_control": MARK}], "cache_control": MARK})
    assert body["cache_control"] == MARK
    assert "cache_control" in body["tools"][0]
    assert "cache_control" in body["system"][0]
    first, _, last = body["messages"]
    assert ["cache_control" in block for block in first["content"]] == [False, False]
    assert ["cache_control" in block for block in last["content"]] == [False, True]
    assert "cache_control" not in last["content"][0]["content"][0]


def test_m27_marks_of_the_system_text_and_of_tools_go_last() -> None:
    system = {"role": "system", "content": [marked(word) for word in "abc"]}
    tools = [{**TOOL, "cache_control": MARK}] * 3
    body = messages_body({"messages": [system, USER], "tools": tools})
    assert ["cache_control" in block for block in body["system"]] == [False, False, True]
    assert ["cache_control" in tool for tool in body["tools"]] == [True] * 3


def test_four_marks_and_their_scope_stay() -> None:
    mark = {"type": "ephemeral", "scope": "global"}
    content = [{"type": "text", "text": word, "cache_control": mark} for word in "abcd"]
    assert messages_body({"messages": [{"role": "user", "content": content}]})["messages"][0]["content"] == content


def test_m21_nothing_is_forgotten() -> None:
    asked = {"max_tokens": 5, "temperature": 0.1, "stop": ["a"], "tools": [TOOL], "tool_choice": "required", "top_k": 2}
    assert messages_body({**BASE, **asked}).keys() >= {
        "max_tokens",
        "temperature",
        "stop_sequences",
        "tools",
        "tool_choice",
        "top_k",
    }


def test_a_hundred_tools() -> None:
    tools = [{"type": "function", "function": {"name": f"f{index}"}} for index in range(100)]
    assert [tool["name"] for tool in messages_body({**BASE, "tools": tools})["tools"]] == [f"f{i}" for i in range(100)]


def test_a_legacy_prompt_becomes_a_message() -> None:
    for prompt in ("Hi", ["Hi"]):
        call = make_call("/v1/completions", prompt=prompt, max_tokens=5)
        body = make_messages_body(call, None, LaterSystem.HOIST)
        assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "logprobs": 1}, "logprobs"),
    ],
)
def test_legacy_parameters_without_a_counterpart_are_refused(asked: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        make_messages_body(make_call("/v1/completions", **asked), None, LaterSystem.HOIST)
    assert caught.value.param == param


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5000) | st.floats(0, 2) | st.sampled_from(["", "x", "text", "custom"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                "type name text function custom id index signature data format arguments input cache_control "
                "content allowed_tools tools mode grammar definition edits budget_tokens effort".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = (
    "model max_tokens stop temperature top_p tools tool_choice parallel_tool_calls reasoning_effort thinking "
    "output_config response_format context_management web_search_options service_tier cache_control modalities user"
).split()
MESSAGE_FIELDS = "content tool_calls tool_call_id reasoning_details anthropic_blocks cache_control".split()
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional=dict.fromkeys(MESSAGE_FIELDS, ODD),
    ),
    max_size=3,
)


@given(st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=5), MESSAGES)
def test_fields_of_any_type_are_sent_or_refused(fields: Json, messages: list[Json]) -> None:
    with suppress(BadRequest):
        messages_body({**fields, "messages": messages})
