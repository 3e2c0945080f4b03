"""Chats become Ollama's; what would be lost silently is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ollama_requests import build_chat

from argoproxy.api import BadRequest

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def build(**body: Any) -> Any:
    return build_chat({"model": "llama", "messages": [USER], **body})


def test_a_plain_chat_says_that_it_wants_no_stream() -> None:
    assert build() == {"model": "llama", "messages": [USER], "stream": False}
    assert build(stream=True)["stream"] is True


def test_parameters_become_options() -> None:
    body = build(temperature=0, max_completion_tokens=9, stop="x", top_k=3, seed=None, user="me")
    assert body["options"] == {"temperature": 0, "num_predict": 9, "stop": ["x"], "top_k": 3}
    assert build(stop=["a", "b"])["options"] == {"stop": ["a", "b"]}
    assert "user" not in body


def test_formats_thinking_and_fields_of_ollama() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    assert build(response_format=form)["format"] == SCHEMA
    assert build(response_format={"type": "json_object"})["format"] == "json"
    assert "format" not in build(response_format={"type": "text"})
    assert (build(reasoning_effort="none")["think"], build(reasoning_effort="high")["think"]) == (False, "high")
    assert (build(think=True)["think"], build(keep_alive=0)["keep_alive"]) == (True, 0)


def test_tools_are_the_same_and_may_be_forbidden() -> None:
    assert build(tools=[TOOL], tool_choice="auto")["tools"] == [TOOL]
    assert "tools" not in build(tools=[TOOL], tool_choice="none")


def test_a_result_names_its_tool() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    asked = [
        {"role": "developer", "content": "Be short."},
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    function = {"name": "weather", "arguments": {"city": "Paris"}}
    assert build(messages=asked)["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [{"id": "c1", "function": function}]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1", "tool_name": "weather"},
    ]


def test_parts_become_lines_and_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "What"}, image, {"type": "text", "text": "is this?"}]
    (message,) = build(messages=[{"role": "user", "content": parts}])["messages"]
    assert message == {"role": "user", "content": "What\nis this?", "images": ["AAAA"]}


def content(part: Any) -> Any:
    return {"messages": [{"role": "user", "content": [part]}]}


def arguments(text: Any) -> Any:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{}]}, "functions"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": 1}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (content({"type": "input_audio"}), "messages[0].content[0]"),
        (content({"type": "image_url", "image_url": {"url": "https://a/b"}}), "messages[0].content[0]"),
        (arguments("{"), "messages[0].tool_calls[0].function.arguments"),
        (arguments("[]"), "messages[0].tool_calls[0].function.arguments"),
        (arguments({}), "messages[0].tool_calls[0]"),
    ],
)
def test_a_refusal_names_the_parameter(body: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        build(**body)
    assert raised.value.param == param
