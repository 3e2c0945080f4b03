from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.upstreams.dashscope.parameters import chat_parameters, embedding_parameters, wants_incremental_output
from tests.support.dashscope_calls import COMPLETIONS, call

Json = dict[str, Any]
TOOLS = [{"type": "function", "function": {"name": "f"}}]
OURS = {"result_format": "message"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 2}, {"temperature": 1.99}),
        ({"temperature": 1.99, "top_p": 1}, {"temperature": 1.99, "top_p": 1}),
        ({"top_p": 0}, {"top_p": 0.01}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 6}, {"max_tokens": 5}),
        ({"max_completion_tokens": None, "max_tokens": 6}, {"max_tokens": 6}),
        ({"stop": ["a"], "seed": 1, "n": 2, "presence_penalty": 1}, None),
        (
            {"top_k": 4, "repetition_penalty": 1.1, "thinking_budget": 9, "search_options": {"forced_search": True}},
            None,
        ),
        ({"logprobs": True, "top_logprobs": 3}, None),
        ({"response_format": {"type": "json_object"}}, None),
        ({"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False}, None),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"tool_choice": "none"}, {}),
        ({"temperature": None, "stop": None}, {}),
        ({"stream": False, "stream_options": {}, "user": "u", "metadata": {}, "store": True}, {}),
        ({"frequency_penalty": 0, "logit_bias": {}, "service_tier": "auto"}, {}),
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
        ({"reasoning_effort": False}, {"enable_thinking": False}),
        ({"reasoning_effort": "low"}, {"enable_thinking": True}),
        ({"reasoning_effort": "low", "enable_thinking": False}, {"enable_thinking": False}),
        ({"web_search_options": {}}, {"enable_search": True}),
        ({"web_search_options": {}, "enable_search": False}, {"enable_search": False}),
        ({"result_format": "text"}, {"result_format": "text"}),
        ({"incremental_output": False}, {}),
        ({"functions": [], "function_call": "none"}, {}),
    ],
)
def test_what_goes_along(given: Json, sent: Json | None) -> None:
    assert chat_parameters(call(messages=[], **given)) == {**OURS, **(given if sent is None else sent)}


@pytest.mark.parametrize(
    ("given", "is_incremental"),
    [
        ({}, True),
        ({"incremental_output": True}, True),
        ({"incremental_output": None}, True),
        ({"incremental_output": False}, False),
    ],
)
def test_a_stream_is_asked_for_what_is_new(given: Json, is_incremental: bool) -> None:
    asked = call(stream=True, **given)
    assert chat_parameters(asked) == {**OURS, "incremental_output": is_incremental}
    assert wants_incremental_output(asked) is is_incremental


@pytest.mark.parametrize(
    ("path", "given", "param"),
    [
        ("/v1/chat/completions", {"functions": [{"name": "f"}]}, "functions"),
        (COMPLETIONS, {"suffix": "s"}, "suffix"),
        (COMPLETIONS, {"echo": True}, "echo"),
        (COMPLETIONS, {"best_of": 2}, "best_of"),
        (COMPLETIONS, {"logprobs": 2}, "logprobs"),
    ],
)
def test_what_would_be_missed_is_refused(path: str, given: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat_parameters(call(path, **given))
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


def test_what_a_legacy_call_says_by_default_is_not_missed() -> None:
    asked = call(COMPLETIONS, prompt="x", suffix="", echo=False, best_of=1, logprobs=False, n=1)
    assert chat_parameters(asked) == {**OURS, "n": 1}


def test_parameters_of_embeddings() -> None:
    asked = {
        "model": "m",
        "input": "a",
        "dimensions": 64,
        "encoding_format": "base64",
        "user": "u",
        "text_type": "query",
    }
    assert embedding_parameters(asked) == {"dimension": 64, "text_type": "query"}
    assert embedding_parameters({"model": "m", "input": "a", "dimensions": None}) == {}
