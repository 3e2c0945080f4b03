"""The table of what requests may contain, and the check of a request against it.

Sources: OpenAI's API reference and OpenAPI file of 2026-08-21, and what compatible servers accept. A line is as
lenient as the most lenient of them, and fields without a line pass. Upstreams that accept less answer with an error of
their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.types import (
    BOOLEAN,
    NAME,
    OBJECT,
    STRING,
    Either,
    Kinds,
    ListOf,
    Object,
    Plain,
    Shape,
    integer,
    number,
)

STRINGS = ListOf("an array of strings", STRING, sure=frozenset((str,)))
TEXT_OR_TEXTS = Either("a string or an array of strings", {str: STRING, list: STRINGS})
ANY_INTEGER = integer()

# Tools. vLLM takes one without a type; clients of the Responses API send `name` beside the type, not below `function`.
FUNCTION = Object(
    "a function",
    {"name": NAME, "description": STRING, "parameters": OBJECT, "strict": BOOLEAN},
    needs=[["name"]],
)
NAMED = Object("an object with a name", {"name": NAME}, needs=[["name"]])


def tool_kinds(expected: str, function: Object) -> Kinds:
    """Return the shape of a tool, or of a choice of one, by the shape of its `function`."""
    by_function: Mapping[str, Shape] = {"function": function, "name": NAME}
    return Kinds(
        expected,
        {"type": NAME},
        needs=[["type", "function", "name"]],
        kinds={
            "function": Object(expected, by_function, needs=[["function", "name"]]),
            "custom": Object(expected, {"custom": NAMED, "name": NAME}, needs=[["custom", "name"]]),
            None: Object(expected, by_function),
        },
    )


TOOL = tool_kinds("a tool", FUNCTION)
TOOL_CHOICE = tool_kinds("a tool choice", NAMED)
FUNCTION_CALL = Object(
    "a function with its arguments",
    {"name": STRING, "arguments": Either("a string of JSON", {str: STRING, dict: OBJECT})},
    needs=[["name"]],
)
TOOL_CALL = Kinds(
    "a tool call",
    {"id": STRING, "type": STRING},
    needs=[["type", "function"]],
    kinds={
        "function": Object("a tool call", {"function": FUNCTION_CALL}, needs=[["function"]]),
        "custom": Object("a tool call", {"custom": NAMED}, needs=[["custom"]]),
        None: Object("a tool call", {"function": FUNCTION_CALL}),
    },
)

# Messages. vLLM takes parts that are strings, media without a type, and a `uuid` of media it has seen before.
URL = Either(
    "a string or an object with a URL",
    {str: NAME, dict: Object("an object with a URL", {"url": NAME, "detail": STRING}, needs=[["url"]])},
)
AUDIO = Either(
    "an object with audio data",
    {str: NAME, dict: Object("an object with audio data", {"data": STRING, "format": STRING}, needs=[["data"]])},
)
FILE = Object("a file", {"file_data": STRING, "file_id": STRING, "filename": STRING})
PART = Kinds(
    "a content part",
    {"type": NAME},
    needs=[["type", "image_url", "audio_url", "video_url", "input_audio", "image_embeds", "audio_embeds"]],
    kinds={
        "text": Object("a text part", {"text": STRING}, needs=[["text"]]),
        "refusal": Object("a refusal", {"refusal": STRING}, needs=[["refusal"]]),
        "image_url": Object("an image part", {"image_url": URL}, needs=[["image_url", "uuid"]]),
        "input_audio": Object("an audio part", {"input_audio": AUDIO}, needs=[["input_audio", "uuid"]]),
        "file": Object("a file part", {"file": FILE}, needs=[["file", "file_id"]]),
        None: Object("a content part", {"image_url": URL, "input_audio": AUDIO}),
    },
)
PARTS = ListOf("an array of parts", Either("a content part", {dict: PART, str: STRING}))
CONTENT = Either("a string or an array of parts", {str: STRING, list: PARTS})
MESSAGE = Object(
    "a message",
    {
        "role": NAME,
        "content": CONTENT,
        "name": STRING,
        "refusal": STRING,
        "tool_call_id": STRING,
        "tool_calls": ListOf("an array of tool calls", TOOL_CALL),
        "function_call": FUNCTION_CALL,
        "audio": OBJECT,
    },
    needs=[["role"]],
)
MESSAGES = ListOf("a non-empty array of messages", MESSAGE, least=1)

# Texts and tokens. llama.cpp takes them mixed, vLLM objects with images.
TOKENS = ListOf("a non-empty array of tokens", ANY_INTEGER, least=1, sure=frozenset((int,)))
TEXT_OR_TOKENS = Either(
    "a string, a token, an array of tokens or an object",
    {str: STRING, int: ANY_INTEGER, float: ANY_INTEGER, list: TOKENS, dict: OBJECT},
)
TEXTS = Either(
    "a string, or a non-empty array of strings or tokens",
    {
        str: STRING,
        list: ListOf("a non-empty array of strings or tokens", TEXT_OR_TOKENS, least=1, sure=frozenset((str, int))),
    },
)

# Fireworks takes a number of tokens or a boolean as effort, Together counts in `logprobs`, vLLM says -1 for all;
# llama.cpp takes pairs as `logit_bias`, and false as a bias.
EFFORT = Either(
    "a string, a whole number or a boolean", {str: STRING, int: ANY_INTEGER, float: ANY_INTEGER, bool: BOOLEAN}
)
LOGPROBS = Either(
    "a boolean or a whole number of at least -1", {bool: BOOLEAN, int: integer(least=-1), float: integer(least=-1)}
)
BIASES = Plain(
    "an object of numbers",
    frozenset((dict,)),
    lambda biases: {int, float, bool, type(None)}.issuperset(map(type, biases.values())),
)
LOGIT_BIAS = Either(
    "an object of numbers", {dict: BIASES, list: ListOf("an array of pairs", Plain("a pair", frozenset((list,))))}
)

COMPLETION: Mapping[str, Shape] = {
    "model": STRING,
    "max_tokens": ANY_INTEGER,
    "temperature": number(least=0),
    "top_p": number(0, 1),
    "n": integer(1, 128),
    "stop": TEXT_OR_TEXTS,
    "seed": ANY_INTEGER,
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": LOGIT_BIAS,
    "logprobs": LOGPROBS,
    "stream": BOOLEAN,
    "stream_options": Object("an object", {"include_usage": BOOLEAN, "include_obfuscation": BOOLEAN}),
    "user": STRING,
}
CHAT: Mapping[str, Shape] = {
    **COMPLETION,
    "messages": MESSAGES,
    "max_completion_tokens": ANY_INTEGER,
    "tools": ListOf("an array of tools", TOOL),
    "tool_choice": Either("a string or an object", {str: NAME, dict: TOOL_CHOICE}),
    "parallel_tool_calls": BOOLEAN,
    "functions": ListOf("an array of functions", FUNCTION),
    "function_call": Either("a string or an object with a name", {str: NAME, dict: NAMED}),
    "response_format": Object("an object with a type", {"type": NAME, "json_schema": OBJECT}, needs=[["type"]]),
    "top_logprobs": integer(least=-1),
    "reasoning_effort": EFFORT,
    "verbosity": STRING,
    "modalities": STRINGS,
    "audio": OBJECT,
    "prediction": Object("an object", {"type": STRING, "content": CONTENT}),
    "metadata": OBJECT,
    "store": BOOLEAN,
    "service_tier": STRING,
    "safety_identifier": STRING,
    "prompt_cache_key": STRING,
    "web_search_options": OBJECT,
}
LEGACY: Mapping[str, Shape] = {
    **COMPLETION,
    "prompt": TEXTS,
    "suffix": STRING,
    "echo": BOOLEAN,
    "best_of": integer(least=0),
}
EMBEDDING: Mapping[str, Shape] = {
    "model": STRING,
    "input": TEXTS,
    "messages": MESSAGES,
    "dimensions": integer(least=1),
    "encoding_format": NAME,
    "user": STRING,
}

#: What may be asked on which path. Argo takes a `prompt` in place of messages and input, vLLM embeds messages.
REQUESTS: Mapping[str, Object] = {
    "/v1/chat/completions": Object("a chat", CHAT, needs=[["messages", "prompt"]]),
    "/v1/completions": Object("a completion", LEGACY),
    "/v1/embeddings": Object("an embedding", EMBEDDING, needs=[["input", "prompt", "messages"]]),
}


def validate(body: Mapping[str, Any], path: str) -> None:
    """Check a request body against the table of its path, if there is one. Raises BadRequest."""
    request = REQUESTS.get(path)
    if request:
        check_shape(body, request)


def check_shape(body: Mapping[str, Any], shape: Object) -> None:
    """Check a request body against a shape. Raises BadRequest that names the field."""
    if fault := shape.fault(body):
        raise BadRequest(fault.message, param=fault.place, code=fault.problem)
