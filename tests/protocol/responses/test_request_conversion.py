from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.responses.request_conversion import convert_request, describe_request
from tests.protocol.responses.conversation import convert, request

Json = dict[str, Any]

F = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Patch.", "format": {"type": "text"}}


def chat(**body: Any) -> Json:
    """Give the chat that a request becomes, which is a valid one."""
    converted = convert_request(request(**body)).chat
    validate(converted, "/v1/chat/completions")
    return converted


def test_a_string_is_a_message_of_the_user() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_and_neighbouring_system_messages_are_one() -> None:
    """Most chat templates accept one system message only."""
    items = [
        {"role": "developer", "content": "b"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "c"}]},
        {"role": "user", "content": "d"},
        {"role": "developer", "content": "e"},
    ]
    assert chat(input=items, instructions="a")["messages"] == [
        {"role": "system", "content": "a\n\nb\n\nc"},
        {"role": "user", "content": "d"},
        {"role": "system", "content": "e"},
    ]
    assert [one["role"] for one in chat(instructions="a")["messages"]] == ["system", "user"]


def test_parameters() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
    asked = chat(
        stream=True,
        max_output_tokens=9,
        temperature=0.5,
        top_p=None,
        user="u",
        text={"format": form, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto"},
        include=["message.output_text.logprobs"],
        top_logprobs=3,
    )
    del asked["messages"]
    assert asked == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "user": "u",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "verbosity": "low",
        "reasoning_effort": "high",
        "logprobs": True,
        "top_logprobs": 3,
    }


def test_formats() -> None:
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


def test_what_has_no_equivalent_is_left_out_and_named() -> None:
    items = [
        {"type": "item_reference", "id": "msg_1"},
        {"role": "user", "content": "a"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]
    converted = convert_request(
        request(input=items, tools=[F, {"type": "web_search"}], store=True, prompt_cache_key="k", odd=1)
    )
    assert converted.left_out == ("input[0]", "input[2]", "tools[1]", "prompt_cache_key", "odd")
    assert converted.chat["messages"] == [{"role": "user", "content": "a"}]
    assert converted.chat.keys() == {"model", "messages", "tools"}


def test_tools() -> None:
    space = {"type": "namespace", "name": "ns", "tools": [F, {"type": "other"}]}
    grammar = {**PATCH, "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}
    bare = {"type": "custom", "name": "bare"}
    tools = chat(tools=[F, F, PATCH, grammar, bare, space], parallel_tool_calls=False, tool_choice="required")
    functions = [one["function"] for one in tools["tools"]]
    assert [one["name"] for one in functions] == ["f", "apply_patch", "g", "bare", "ns__f"]
    assert functions[0] == {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
    assert functions[1]["description"] == "Patch."
    assert functions[1]["parameters"]["required"] == ["input"]
    assert functions[2]["description"] == "Patch.\n\nThe input must follow this lark grammar:\n\nstart: X"
    assert "description" not in functions[3]
    assert (tools["tool_choice"], tools["parallel_tool_calls"]) == ("required", False)


def test_a_long_name_is_shortened_the_same_way_in_tools_and_history() -> None:
    long = {"type": "function", "name": "f" * 60}
    space = {"type": "namespace", "name": "a_long_namespace", "tools": [long]}
    name = chat(tools=[space])["tools"][0]["function"]["name"]
    assert len(name) == 64
    item = {
        "type": "function_call",
        "call_id": "c",
        "name": "f" * 60,
        "namespace": "a_long_namespace",
        "arguments": "{}",
    }
    assert convert(item)[0]["tool_calls"][0]["function"]["name"] == name
    assert describe_request(request(tools=[space])).tools.find(name).name == "f" * 60


@pytest.mark.parametrize(
    ("choice", "expected", "left"),
    [
        (None, None, ["f", "apply_patch", "ns__f"]),
        ("none", "none", ["f", "apply_patch", "ns__f"]),
        (
            {"type": "function", "name": "f"},
            {"type": "function", "function": {"name": "f"}},
            ["f", "apply_patch", "ns__f"],
        ),
        (
            {"type": "custom", "name": "apply_patch"},
            {"type": "function", "function": {"name": "apply_patch"}},
            ["f", "apply_patch", "ns__f"],
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            "required",
            ["f"],
        ),
        (
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "f", "namespace": "ns"}]},
            "auto",
            ["ns__f"],
        ),
    ],
)
def test_tool_choice(choice: Any, expected: Any, left: list[str]) -> None:
    space = {"type": "namespace", "name": "ns", "tools": [F]}
    asked = chat(tools=[F, PATCH, space], tool_choice=choice)
    assert asked.get("tool_choice") == expected
    assert [one["function"]["name"] for one in asked["tools"]] == left


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_a_choice_without_tools_is_left_out(choice: str | None) -> None:
    assert chat(tool_choice=choice, parallel_tool_calls=True).keys() == {"model", "messages"}


def test_contents() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "x"},
        {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
        {"type": "refusal", "refusal": "r"},
    ]
    assert convert({"role": "user", "content": parts})[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "file", "file": {"file_data": "x"}},
        {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
        {"type": "text", "text": "r"},
    ]
    two = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert len(convert({"role": "user", "content": two})[0]["content"]) == 2
    answer = {
        "role": "assistant",
        "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
    }
    assert convert(answer) == [{"role": "assistant", "content": "ab"}]
    assert convert({"role": "assistant", "content": ""}) == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "odd"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "f"}]}]},
            "input[0].content[0].file_url",
        ),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]}, "tools[0].tools[0].name"),
        ({"tools": [F, {"type": "custom", "name": "f"}]}, "tools[1].name"),
        ({"tools": [F], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"name": "f"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "odd"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"reasoning": "high"}, "reasoning"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_wrong_is_named(body: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        convert_request(request(**body))
    assert caught.value.param == param
