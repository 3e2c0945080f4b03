from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RAW
from argoproxy.protocol.api.schema import REQUESTS, validate

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "Hi"}


def chat(*messages: Any, **fields: Any) -> Json:
    return {"model": "m", "messages": [USER, *messages], **fields}


def parts(*content: Any) -> Json:
    return chat({"role": "user", "content": [{"type": "text", "text": "Look"}, *content]})


def called(*calls: Any) -> Json:
    return chat({"role": "assistant", "content": None, "tool_calls": list(calls)})


def tools(*listed: Any) -> Json:
    return chat(tools=[{"type": "function", "function": {"name": "f"}}, *listed])


PART = "messages[1].content[1]"
CALL = "messages[1].tool_calls[0]"

#: A bad body, the `param` of its error, and words of the message: what was expected, what came.
BAD_CHATS: list[tuple[Json, str, str]] = [
    ({"model": "m"}, "messages", "Expected a non-empty array of messages"),
    ({"messages": None}, "messages", "a non-empty array of messages, but got null"),
    ({"messages": []}, "messages", "a non-empty array of messages, but got an empty array"),
    ({"messages": "Hi"}, "messages", "a non-empty array of messages, but got a string"),
    ({"messages": USER}, "messages", "a non-empty array of messages, but got an object"),
    ({"messages": 7, "prompt": "Hi"}, "messages", "a non-empty array of messages, but got a number"),
    (chat("Hi"), "messages[1]", "a message, but got a string"),
    (chat(USER, None), "messages[2]", "a message, but got null"),
    (chat(["user", "Hi"]), "messages[1]", "a message, but got an array"),
    (chat({"content": "Hi"}), "messages[1].role", "Expected a non-empty string"),
    (chat({}), "messages[1].role", "Expected a non-empty string"),
    (chat(USER, {"role": None}), "messages[2].role", "a non-empty string, but got null"),
    (chat({"role": ""}), "messages[1].role", "a non-empty string, but got an empty string"),
    (chat({"role": 1}), "messages[1].role", "a non-empty string, but got a number"),
    (chat({"role": ["user"]}), "messages[1].role", "a non-empty string, but got an array"),
    (chat({"role": "user", "content": 5}), "messages[1].content", "a string or an array of parts, but got a number"),
    (
        chat({"role": "user", "content": True}),
        "messages[1].content",
        "a string or an array of parts, but got a boolean",
    ),
    (chat({"role": "user", "content": {}}), "messages[1].content", "a string or an array of parts, but got an object"),
    (chat({"role": "user", "name": 5}), "messages[1].name", "a string, but got a number"),
    (chat({"role": "assistant", "refusal": []}), "messages[1].refusal", "a string, but got an array"),
    (chat({"role": "assistant", "audio": "a"}), "messages[1].audio", "an object, but got a string"),
    (chat({"role": "tool", "tool_call_id": 1}), "messages[1].tool_call_id", "a string, but got a number"),
    (parts(None), PART, "a content part, but got null"),
    (parts(5), PART, "a content part, but got a number"),
    (parts([]), PART, "a content part, but got an array"),
    (parts({}), f"{PART}.type", "Expected a non-empty string"),
    (parts({"text": "Hi"}), f"{PART}.type", "Expected a non-empty string"),
    (parts({"type": None}), f"{PART}.type", "a non-empty string, but got null"),
    (parts({"type": 5}), f"{PART}.type", "a non-empty string, but got a number"),
    (parts({"type": {}}), f"{PART}.type", "a non-empty string, but got an object"),
    (parts({"type": ""}), f"{PART}.type", "a non-empty string, but got an empty string"),
    (parts({"type": "text"}), f"{PART}.text", "Expected a string"),
    (parts({"type": "text", "text": 5}), f"{PART}.text", "a string, but got a number"),
    (parts({"type": "text", "text": None}), f"{PART}.text", "a string, but got null"),
    (parts({"type": "refusal"}), f"{PART}.refusal", "Expected a string"),
    (parts({"type": "image_url"}), f"{PART}.image_url", "Expected a string or an object with a URL"),
    (parts({"type": "image_url", "image_url": 5}), f"{PART}.image_url", "an object with a URL, but got a number"),
    (parts({"type": "image_url", "image_url": ""}), f"{PART}.image_url", "a non-empty string, but got an empty string"),
    (parts({"image_url": 5}), f"{PART}.image_url", "a string or an object with a URL, but got a number"),
    (parts({"type": "image_url", "image_url": {}}), f"{PART}.image_url.url", "Expected a non-empty string"),
    (parts({"type": "image_url", "image_url": {"url": 5}}), f"{PART}.image_url.url", "string, but got a number"),
    (parts({"type": "image_url", "image_url": {"url": ""}}), f"{PART}.image_url.url", "but got an empty string"),
    (
        parts({"type": "image_url", "image_url": {"url": "u", "detail": 1}}),
        f"{PART}.image_url.detail",
        "a string, but got a number",
    ),
    (parts({"type": "input_audio"}), f"{PART}.input_audio", "Expected an object with audio data"),
    (parts({"type": "input_audio", "input_audio": {}}), f"{PART}.input_audio.data", "Expected a string"),
    (parts({"type": "input_audio", "input_audio": {"data": 1}}), f"{PART}.input_audio.data", "a string, but got a"),
    (parts({"type": "file"}), f"{PART}.file", "Expected a file"),
    (parts({"type": "file", "file": "f"}), f"{PART}.file", "a file, but got a string"),
    (parts({"type": "file", "file": {"file_data": 1}}), f"{PART}.file.file_data", "a string, but got a number"),
    (chat({"role": "assistant", "tool_calls": {}}), "messages[1].tool_calls", "an array of tool calls, but got an"),
    (called(None), CALL, "a tool call, but got null"),
    (called({}), f"{CALL}.type", "Expected a string"),
    (called({"type": 5}), f"{CALL}.type", "a string, but got a number"),
    (called({"id": 5, "type": "x"}), f"{CALL}.id", "a string, but got a number"),
    (called({"type": "function"}), f"{CALL}.function", "Expected a function with its arguments"),
    (called({"function": {}}), f"{CALL}.function.name", "Expected a string"),
    (called({"type": "function", "function": {"name": 1}}), f"{CALL}.function.name", "a string, but got a number"),
    (
        called({"type": "function", "function": {"name": "f", "arguments": [1]}}),
        f"{CALL}.function.arguments",
        "a string of JSON, but got an array",
    ),
    (called({"type": "custom"}), f"{CALL}.custom", "Expected an object with a name"),
    (
        chat({"role": "assistant", "function_call": "f"}),
        "messages[1].function_call",
        "a function with its arguments, but got a string",
    ),
    (chat(tools={}), "tools", "an array of tools, but got an object"),
    (tools("f"), "tools[1]", "a tool, but got a string"),
    (tools({}), "tools[1].type", "Expected a non-empty string"),
    (tools({"type": 5}), "tools[1].type", "a non-empty string, but got a number"),
    (tools({"type": "function"}), "tools[1].function", "Expected a function"),
    (tools({"type": "function", "function": None}), "tools[1].function", "a function, but got null"),
    (tools({"type": "function", "function": []}), "tools[1].function", "a function, but got an array"),
    (tools({"type": "function", "function": {}}), "tools[1].function.name", "Expected a non-empty string"),
    (tools({"function": {"name": ""}}), "tools[1].function.name", "but got an empty string"),
    (
        tools({"type": "function", "function": {"name": "f", "parameters": "{}"}}),
        "tools[1].function.parameters",
        "an object, but got a string",
    ),
    (
        tools({"type": "function", "function": {"name": "f", "description": 1}}),
        "tools[1].function.description",
        "a string, but got a number",
    ),
    (
        tools({"type": "function", "function": {"name": "f", "strict": "yes"}}),
        "tools[1].function.strict",
        "a boolean, but got a string",
    ),
    (tools({"type": "function", "name": ""}), "tools[1].name", "but got an empty string"),
    (tools({"type": "custom"}), "tools[1].custom", "Expected an object with a name"),
    (tools({"type": "custom", "custom": {"name": 5}}), "tools[1].custom.name", "string, but got a number"),
    (chat(tool_choice=5), "tool_choice", "a string or an object, but got a number"),
    (chat(tool_choice=""), "tool_choice", "a non-empty string, but got an empty string"),
    (chat(tool_choice={}), "tool_choice.type", "Expected a non-empty string"),
    (chat(tool_choice={"type": "function"}), "tool_choice.function", "Expected an object with a name"),
    (chat(tool_choice={"type": "function", "function": {}}), "tool_choice.function.name", "Expected a non-empty"),
    (chat(parallel_tool_calls="yes"), "parallel_tool_calls", "a boolean, but got a string"),
    (chat(functions="f"), "functions", "an array of functions, but got a string"),
    (chat(functions=[{}]), "functions[0].name", "Expected a non-empty string"),
    (chat(function_call=True), "function_call", "a string or an object with a name, but got a boolean"),
    (chat(function_call={}), "function_call.name", "Expected a non-empty string"),
    (chat(response_format="json"), "response_format", "an object with a type, but got a string"),
    (chat(response_format={}), "response_format.type", "Expected a non-empty string"),
    (chat(response_format={"type": 1}), "response_format.type", "a non-empty string, but got a number"),
    (
        chat(response_format={"type": "json_schema", "json_schema": []}),
        "response_format.json_schema",
        "an object, but got an array",
    ),
    (chat(max_completion_tokens=1.5), "max_completion_tokens", "a whole number, but got 1.5"),
    (chat(max_completion_tokens="9"), "max_completion_tokens", "a whole number, but got a string"),
    (chat(top_logprobs=-2), "top_logprobs", "a whole number of at least -1, but got -2"),
    (chat(top_logprobs=True), "top_logprobs", "a whole number of at least -1, but got a boolean"),
    (chat(reasoning_effort={}), "reasoning_effort", "a string, a whole number or a boolean, but got an object"),
    (chat(modalities="text"), "modalities", "an array of strings, but got a string"),
    (chat(modalities=["text", 1]), "modalities[1]", "a string, but got a number"),
    (chat(metadata="x"), "metadata", "an object, but got a string"),
    (chat(audio=True), "audio", "an object, but got a boolean"),
    (chat(prediction="x"), "prediction", "an object, but got a string"),
    (chat(prediction={"content": 5}), "prediction.content", "a string or an array of parts, but got a number"),
    (chat(store="yes"), "store", "a boolean, but got a string"),
    (chat(service_tier=1), "service_tier", "a string, but got a number"),
    (chat(web_search_options=[]), "web_search_options", "an object, but got an array"),
]
#: Fields that chats and legacy completions have in common.
BAD_FIELDS: list[tuple[str, Any, str, str]] = [
    ("model", 5, "model", "a string, but got a number"),
    ("model", ["m"], "model", "a string, but got an array"),
    ("max_tokens", "5", "max_tokens", "a whole number, but got a string"),
    ("max_tokens", 1.5, "max_tokens", "a whole number, but got 1.5"),
    ("max_tokens", True, "max_tokens", "a whole number, but got a boolean"),
    ("temperature", "hot", "temperature", "a number of at least 0, but got a string"),
    ("temperature", -0.1, "temperature", "a number of at least 0, but got -0.1"),
    ("temperature", False, "temperature", "a number of at least 0, but got a boolean"),
    ("top_p", 1.01, "top_p", "a number from 0 to 1, but got 1.01"),
    ("top_p", -1, "top_p", "a number from 0 to 1, but got -1"),
    ("top_p", 10**400, "top_p", "a number from 0 to 1, but got 100000000000000000000000 "),
    ("top_p", "1", "top_p", "a number from 0 to 1, but got a string"),
    ("n", 0, "n", "a whole number from 1 to 128, but got 0"),
    ("n", 129, "n", "a whole number from 1 to 128, but got 129"),
    ("n", 1.5, "n", "a whole number from 1 to 128, but got 1.5"),
    ("n", "2", "n", "a whole number from 1 to 128, but got a string"),
    ("n", True, "n", "a whole number from 1 to 128, but got a boolean"),
    ("stop", 5, "stop", "a string or an array of strings, but got a number"),
    ("stop", ["a", 5], "stop[1]", "a string, but got a number"),
    ("stop", [None], "stop[0]", "a string, but got null"),
    ("seed", "7", "seed", "a whole number, but got a string"),
    ("seed", 7.5, "seed", "a whole number, but got 7.5"),
    ("presence_penalty", 2.1, "presence_penalty", "a number from -2 to 2, but got 2.1"),
    ("presence_penalty", "1", "presence_penalty", "a number from -2 to 2, but got a string"),
    ("frequency_penalty", -3, "frequency_penalty", "a number from -2 to 2, but got -3"),
    ("logit_bias", "x", "logit_bias", "an object of numbers, but got a string"),
    ("logit_bias", {"50256": "high"}, "logit_bias", "an object of numbers, but got an object"),
    ("logit_bias", [5], "logit_bias[0]", "a pair, but got a number"),
    ("logprobs", "yes", "logprobs", "a boolean or a whole number of at least -1, but got a string"),
    ("logprobs", -2, "logprobs", "a whole number of at least -1, but got -2"),
    ("stream", "true", "stream", "a boolean, but got a string"),
    ("stream", 1, "stream", "a boolean, but got a number"),
    ("stream_options", True, "stream_options", "an object, but got a boolean"),
    ("stream_options", {"include_usage": 1}, "stream_options.include_usage", "a boolean, but got a number"),
    ("user", 5, "user", "a string, but got a number"),
]
BAD_COMPLETIONS: list[tuple[Json, str, str]] = [
    ({"prompt": 5}, "prompt", "a string, or a non-empty array of strings or tokens, but got a number"),
    ({"prompt": {}}, "prompt", "a string, or a non-empty array of strings or tokens, but got an object"),
    ({"prompt": []}, "prompt", "a non-empty array of strings or tokens, but got an empty array"),
    ({"prompt": ["a", None]}, "prompt[1]", "a string, a token, an array of tokens or an object, but got null"),
    ({"prompt": [1.5]}, "prompt[0]", "a whole number, but got 1.5"),
    ({"prompt": [[1, "a"]]}, "prompt[0][1]", "a whole number, but got a string"),
    ({"prompt": "a", "suffix": 5}, "suffix", "a string, but got a number"),
    ({"prompt": "a", "echo": "yes"}, "echo", "a boolean, but got a string"),
    ({"prompt": "a", "best_of": -1}, "best_of", "a whole number of at least 0, but got -1"),
]
BAD_EMBEDDINGS: list[tuple[Json, str, str]] = [
    ({"model": "m"}, "input", "Expected a string, or a non-empty array of strings or tokens"),
    ({"input": None}, "input", "a non-empty array of strings or tokens, but got null"),
    ({"input": []}, "input", "a non-empty array of strings or tokens, but got an empty array"),
    ({"input": 5}, "input", "a non-empty array of strings or tokens, but got a number"),
    ({"input": True}, "input", "a non-empty array of strings or tokens, but got a boolean"),
    ({"input": {"text": "a"}}, "input", "a non-empty array of strings or tokens, but got an object"),
    ({"input": ["a", True]}, "input[1]", "a string, a token, an array of tokens or an object, but got a boolean"),
    ({"input": [[]]}, "input[0]", "a non-empty array of tokens, but got an empty array"),
    ({"input": [[1], [None]]}, "input[1][0]", "a whole number, but got null"),
    ({"input": "a", "model": 1}, "model", "a string, but got a number"),
    ({"input": "a", "dimensions": 0}, "dimensions", "a whole number of at least 1, but got 0"),
    ({"input": "a", "dimensions": "256"}, "dimensions", "a whole number of at least 1, but got a string"),
    ({"input": "a", "encoding_format": 5}, "encoding_format", "a non-empty string, but got a number"),
    ({"input": "a", "encoding_format": ""}, "encoding_format", "a non-empty string, but got an empty string"),
    ({"input": "a", "user": {}}, "user", "a string, but got an object"),
    ({"messages": []}, "messages", "a non-empty array of messages, but got an empty array"),
]
BAD = [
    *((CHAT.path, *row) for row in BAD_CHATS),
    *((CHAT.path, chat(**{name: value}), param, words) for name, value, param, words in BAD_FIELDS),
    *((COMPLETIONS.path, {"prompt": "a", name: value}, param, words) for name, value, param, words in BAD_FIELDS),
    *((COMPLETIONS.path, *row) for row in BAD_COMPLETIONS),
    *((EMBEDDINGS.path, *row) for row in BAD_EMBEDDINGS),
]

DEEP: Any = {}
for _ in range(100_000):
    DEEP = {"a": [DEEP]}

GOOD_FIELDS: Json = {
    "max_tokens": [0, -1, 1.0, 10**30],
    "temperature": [0, 2, 5.5, 1e-9],
    "top_p": [0, 1, 0.5],
    "n": [1, 128, 2.0],
    "stop": ["", "a", [], ["a"] * 50],
    "seed": [-1, 0, 2**64],
    "presence_penalty": [-2, 2.0],
    "logit_bias": [{}, {"1": -100, "2": 1.5, "hello": False, "3": None}, [[15043, 1.0], ["a", False]]],
    "logprobs": [True, False, 0, 5, -1],
    "stream": [True, False],
    "stream_options": [{}, {"include_usage": None}, {"include_usage": True, "continuous_usage_stats": "x"}],
    "user": ["", "me"],
}
GOOD_CHATS: list[Json] = [
    {"messages": [USER]},
    {"prompt": ["Hi"], "system": "Be brief."},
    {"messages": None, "prompt": "Hi"},
    chat({"role": "assistant"}, {"role": "assistant", "content": None}, {"role": "user", "content": ""}),
    chat({"role": "user", "content": []}, {"role": "user", "content": ["Hi", {"type": "text", "text": ""}]}),
    chat(*({"role": role, "content": "x"} for role in ("system", "developer", "tool", "function", "assistant"))),
    chat(*({"role": role, "content": "x"} for role in ("ipython", "latest_reminder", "observation", "Küche"))),
    chat({"role": "tool", "content": "out of order", "tool_call_id": "never asked"}),
    chat({"role": "tool", "content": "no id"}),
    chat({"role": "assistant", "tool_calls": []}, {"role": "assistant", "tool_calls": None, "function_call": None}),
    called({"id": "", "type": "function", "function": {"name": "", "arguments": ""}, "extra_content": {"google": 1}}),
    called({"id": None, "function": {"name": "f", "arguments": {"a": 1}}}, {"type": "other", "function": 5}),
    called({"id": "1", "type": "custom", "custom": {"name": "c", "input": "x"}}),
    parts({"type": "image_url", "image_url": "https://a.example/b.png"}),
    parts({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": None, "x": 1}}),
    parts({"image_url": "https://a.example/b.png"}, {"video_url": {"url": "u"}}, {"audio_url": 5}),
    parts({"type": "image_url", "image_url": None, "uuid": "seen"}, {"type": "input_audio", "uuid": "seen"}),
    parts({"type": "input_audio", "input_audio": {"data": "AA=="}}, {"type": "input_audio", "input_audio": "AA=="}),
    parts({"type": "file", "file": {"file_id": "f"}}, {"type": "file", "file_id": "f"}),
    parts({"type": "video_url", "video_url": 5}, {"type": "thinking", "thinking": [{"type": "text"}], "text": 5}),
    parts(
        {"type": "tool_result", "tool_use_id": "t", "content": [1]}, {"type": "text", "text": "x", "cache_control": 1}
    ),
    chat(tools=[]),
    chat(tools=None, tool_choice=None, parallel_tool_calls=None),
    tools({"type": "web_search_preview"}, {"type": "mcp", "function": 5, "name": 5}),
    tools({"function": {"name": "g"}}, {"name": "h", "input_schema": {}}, {"type": "function", "name": "i"}),
    tools({"type": "function", "function": {"name": "a.b c", "parameters": None, "strict": None, "examples": 1}}),
    chat(tool_choice="any"),
    chat(tool_choice={"type": "function", "function": {"name": "not listed"}}),
    chat(tool_choice={"type": "tool", "name": "f"}),
    chat(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
    chat(functions=[], function_call="auto"),
    chat(functions=[{"name": "f"}], function_call={"name": "f"}),
    chat(response_format={"type": "text"}),
    chat(response_format={"type": "json_object", "schema": {"type": "object"}}),
    chat(response_format={"type": "json_schema"}),
    chat(response_format={"type": "grammar", "grammar": "root ::= 1"}),
    chat(max_tokens=5, max_completion_tokens=6.0),
    chat(top_logprobs=50, logprobs=False),
    chat(reasoning_effort="minimal", verbosity="low"),
    chat(reasoning_effort=False),
    chat(reasoning_effort=1000),
    chat(modalities=["image", "text"], audio={"voice": {"id": "v"}}),
    chat(metadata={"any": {"thing": [1]}}, prediction={"type": "content", "content": [{"type": "text", "text": "x"}]}),
    chat(top_k=-1, min_p=2, chat_template_kwargs=DEEP, thinking={"type": "enabled"}, extra_body=[None], provider=5),
    chat({"role": "user", "content": "Hi", "cache_control": DEEP, "reasoning_content": 5}),
    {"messages": [USER] * 10_000, "stop": ["a"] * 10_000},
]
GOOD_COMPLETIONS: list[Json] = [
    {},
    {"model": None, "prompt": None, "suffix": None, "best_of": None, "echo": None},
    {"prompt": ""},
    {"prompt": ["a", ""]},
    {"prompt": [1, 2, 3.0]},
    {"prompt": [[1], [2, 3]]},
    {"prompt": [12, "mixed", [13]]},
    {"prompt": "a", "logprobs": 5, "best_of": 0, "echo": True, "suffix": "z", "messages": 5, "prompt_embeds": "x"},
]
GOOD_EMBEDDINGS: list[Json] = [
    {"input": ""},
    {"input": ["a"] * 5000},
    {"input": list(range(8192))},
    {"input": [[1, 2], [3]]},
    {"input": [{"text": "a"}, {"image": "data:…"}]},
    {"prompt": ["a"]},
    {"messages": [USER]},
    {"input": "a", "dimensions": 256.0, "encoding_format": "bytes", "user": None, "input_type": 5},
    {"input": "a", "dimensions": None, "encoding_format": None, "model": None},
]
GOOD = [
    *((CHAT.path, body) for body in GOOD_CHATS),
    *((CHAT.path, chat(**{name: value})) for name, values in GOOD_FIELDS.items() for value in values),
    *((COMPLETIONS.path, {name: value}) for name, values in GOOD_FIELDS.items() for value in values),
    *((COMPLETIONS.path, body) for body in GOOD_COMPLETIONS),
    *((EMBEDDINGS.path, body) for body in GOOD_EMBEDDINGS),
]


@pytest.mark.parametrize(("path", "body", "param", "words"), BAD)
def test_a_bad_body_is_refused_and_its_fault_named(path: str, body: Json, param: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        validate(body, path)
    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message
    assert words in caught.value.message
    assert caught.value.code in ("invalid_type", "invalid_value", "missing_required_parameter")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"messages": [USER, USER, {"role": "user", "content": 5}]},
            "Invalid type for 'messages[2].content': expected a string or an array of parts, but got a number instead.",
            "invalid_type",
        ),
        (
            chat(n=0),
            "Invalid value for 'n': expected a whole number from 1 to 128, but got 0 instead.",
            "invalid_value",
        ),
        (
            chat({}),
            "Missing required parameter: 'messages[1].role'. Expected a non-empty string.",
            "missing_required_parameter",
        ),
    ],
)
def test_it_speaks_as_openai_does(body: Json, message: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        validate(body, CHAT.path)
    assert (caught.value.message, caught.value.code) == (message, code)


@pytest.mark.parametrize(("path", "body"), GOOD)
def test_a_good_body_is_let_through(path: str, body: Json) -> None:
    validate(body, path)


@pytest.mark.parametrize("path", REQUESTS)
def test_every_field_may_be_null_where_something_else_says_what_is_asked(path: str) -> None:
    needed: dict[str, Json] = {CHAT.path: {"messages": [USER]}, EMBEDDINGS.path: {"input": "a"}}
    validate({**dict.fromkeys(REQUESTS[path].fields), **needed.get(path, {})}, path)


def test_the_tables_are_those_of_our_paths() -> None:
    assert set(REQUESTS) == {CHAT.path, COMPLETIONS.path, EMBEDDINGS.path}


def test_what_has_no_table_is_let_through() -> None:
    validate({"messages": 5}, RAW.path)


#: A body with everything in it that the tables know.
FULL: dict[str, Json] = {
    CHAT.path: {
        **{name: values[-1] for name, values in GOOD_FIELDS.items()},
        **parts(
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f", "file_data": "x", "filename": "n"}},
            {"type": "refusal", "refusal": "no"},
        ),
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "functions": [{"name": "f", "description": "d"}],
        "function_call": {"name": "f"},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s"}},
        "prediction": {"type": "content", "content": "x"},
    },
    COMPLETIONS.path: {**{name: values[0] for name, values in GOOD_FIELDS.items()}, "prompt": ["a", [1, 2]]},
    EMBEDDINGS.path: {
        "input": [[1, 2]],
        "messages": called({"type": "function", "function": {"name": "f"}})["messages"],
    },
}


def refusal(body: Json, path: str) -> BadRequest | None:
    try:
        validate(body, path)
    except BadRequest as error:
        return error
    return None


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Give the steps to everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield (step,)
        yield from ((step, *steps) for steps in places(item))


def with_value_at(body: Json, steps: tuple[Any, ...], value: Any) -> Json:
    changed = deepcopy(body)
    holder: Any = changed
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    return changed


WORDS = st.sampled_from(["type", "text", "role", "name", "function", "image_url", "url", "uuid", "content", "", "a"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("path", REQUESTS)
@given(data=st.data())
def test_whatever_stands_wherever_is_taken_or_refused_by_name(path: str, data: st.DataObject) -> None:
    known = [(name,) for name in REQUESTS[path].fields]
    steps = data.draw(st.sampled_from([*places(FULL[path]), *known]))
    body = with_value_at(FULL[path], steps, data.draw(ANYTHING))
    if error := refusal(body, path):
        assert error.param
        assert error.param.startswith(str(steps[0]))
        assert f"'{error.param}'" in error.message


@pytest.mark.parametrize(("path", "steps"), [(path, steps) for path in REQUESTS for steps in places(FULL[path])])
def test_what_is_nested_beyond_measure_is_taken_or_refused(path: str, steps: tuple[Any, ...]) -> None:
    error = refusal(with_value_at(FULL[path], steps, DEEP), path)
    assert error is None or error.param


class Weather(BaseModel):
    """Tell the weather."""

    city: str


def all_of(client: openai.OpenAI) -> Iterator[Callable[[], Any]]:
    """Give calls of the official client that use all it has."""
    create, embed, complete = client.chat.completions.create, client.embeddings.create, client.completions.create
    hi: Any = [{"role": "user", "content": "Hi"}]
    tool: Any = openai.pydantic_function_tool(Weather)
    image: Any = {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "high"}}
    sound: Any = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    call: Any = {"id": "c", "type": "function", "function": {"name": "Weather", "arguments": "{}"}}
    yield lambda: create(model="m", messages=hi)
    yield lambda: create(model="m", messages=hi, stream=True, stream_options={"include_usage": True})
    yield lambda: create(
        model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, image, sound]}]
    )
    yield lambda: create(
        model="m",
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "audio": {"id": "a"}, "refusal": None},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}]},
            {"role": "function", "name": "f", "content": None},
            {"role": "system", "content": "x", "name": "n"},
        ],
        tools=[tool, {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}},
        parallel_tool_calls=False,
    )
    yield lambda: create(model="m", messages=hi, tools=[tool], tool_choice="required")
    yield lambda: create(
        model="m", messages=hi, functions=[{"name": "f", "parameters": {}}], function_call={"name": "f"}
    )
    yield lambda: create(
        model="m",
        messages=hi,
        temperature=2,
        top_p=1,
        n=2,
        stop=["a", "b"],
        seed=1,
        logprobs=True,
        top_logprobs=20,
        logit_bias={"50256": -100},
        presence_penalty=-2.0,
        frequency_penalty=2,
        max_tokens=1,
        max_completion_tokens=1,
        user="me",
        metadata={"a": "b"},
        store=True,
        service_tier="auto",
        reasoning_effort="high",
        verbosity="low",
        modalities=["text", "audio"],
        audio={"format": "wav", "voice": "alloy"},
        prediction={"type": "content", "content": "x"},
        web_search_options={"search_context_size": "low"},
        prompt_cache_key="k",
        safety_identifier="s",
        response_format={"type": "json_object"},
        extra_body={"top_k": 5, "guided_json": {"a": []}},
    )
    yield lambda: create(model="m", messages=hi, temperature=None, n=None, stop=None, stream=None, max_tokens=None)
    yield lambda: client.chat.completions.parse(model="m", messages=hi, response_format=Weather, tools=[tool])
    yield lambda: client.chat.completions.stream(model="m", messages=hi, tools=[tool]).__enter__()
    yield lambda: complete(model="m", prompt="x")
    yield lambda: complete(model="m", prompt=[[1, 2], [3]], logprobs=5, echo=True, best_of=2, suffix="z", stream=True)
    yield lambda: complete(model="m", prompt=None, stop=None, logit_bias={"1": 1})
    yield lambda: embed(model="m", input="x")
    yield lambda: embed(model="m", input=["x", "y"], dimensions=8, encoding_format="float", user="me")
    yield lambda: embed(model="m", input=[1, 2, 3])
    yield lambda: embed(model="m", input=[[1], [2]], encoding_format="base64")


class Recorder(BaseHTTPRequestHandler):
    """Notes every request and refuses it."""

    noted: ClassVar[list[tuple[str, Json]]] = []

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        self.noted.append((self.path, json.loads(text)))
        self.send_error(400, "Noted")

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def recorder() -> Iterator[str]:
    """A server that notes what comes: its URL."""
    Recorder.noted.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_all_that_the_official_client_sends_is_let_through(recorder: str) -> None:
    with openai.OpenAI(api_key="k", base_url=recorder) as client:
        calls = list(all_of(client))
        for call in calls:
            with pytest.raises(openai.BadRequestError):
                call()
    assert len(Recorder.noted) == len(calls)
    for path, body in Recorder.noted:
        assert path in REQUESTS
        validate(body, path)
