"""What is asked, as tables."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from anthropic_upstream.request import messages_body

from argoproxy.api import BadRequest

Json = dict[str, Any]

USER = {"role": "user", "content": "Hi"}
BASE: Json = {"model": "claude", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
SHAPED = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
BARE = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
BUDGET = {"type": "enabled", "budget_tokens": 2048}
MARK = {"type": "ephemeral", "ttl": "1h"}


FUNCTION = {"name": "f", "arguments": "{}"}
CALLS = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": FUNCTION}]}

PARAMETERS: list[tuple[str, Json, Json]] = [
    ("nothing said", {}, {"max_tokens": 4096}),
    ("null says nothing", {"max_tokens": None, "temperature": None, "stop": None, "tools": None, "n": None}, {}),
    ("max_tokens", {"max_tokens": 5}, {"max_tokens": 5}),
    ("max_completion_tokens first", {"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
    ("none at all", {"max_tokens": 0}, {"max_tokens": 0}),
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
        {"top_k": 3, "cache_control": MARK, "speed": "fast"},
        {"top_k": 3, "cache_control": MARK, "speed": "fast"},
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
        {"thinking": BUDGET, "temperature": 0.5, "top_k": 5},
        {"thinking": BUDGET},
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
    assert "thinking" not in messages_body({**asked, "thinking": BUDGET}, 9)
    assert messages_body({**asked, "thinking": BUDGET}, 9)["temperature"] == 0.5
    assert messages_body({**asked, "reasoning_effort": "low"}, 9)["thinking"] == ADAPTIVE
    later = [*asked["messages"], {"role": "assistant", "content": "1."}, USER]  # type: ignore[misc]
    assert messages_body({"messages": later, "thinking": BUDGET}, 9)["thinking"] == BUDGET


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
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]"),
        ({"tools": [{"type": "custom", "name": "f"}]}, "tools[0]"),
        ({"tools": [TOOL, {"type": "function", "function": {}}]}, "tools[1]"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    ],
)
def test_what_can_not_be_said_is_refused_and_named(asked: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        messages_body({**BASE, **asked}, 9)
    assert caught.value.param == param
