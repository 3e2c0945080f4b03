"""What a request of the Responses API may hold (OpenAI's API reference, and the types of openai-python 3.54).

Items and tools of a type that is not listed are not looked into.
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
    integer,
    number,
)

_TEXT = Object("a text part", {"text": STRING}, needs=[["text"]])
_PART = Kinds(
    "a content part",
    {"type": NAME},
    needs=[["type"]],
    kinds={
        "input_text": _TEXT,
        "output_text": _TEXT,
        "text": _TEXT,
        "refusal": Object("a refusal", {"refusal": STRING}, needs=[["refusal"]]),
        "input_image": Object(
            "an image part",
            {"image_url": NAME, "file_id": STRING, "detail": STRING},
            needs=[["image_url", "file_id"]],
        ),
        "input_file": Object(
            "a file part",
            {"file_data": STRING, "file_id": STRING, "file_url": STRING, "filename": STRING},
            needs=[["file_data", "file_id", "file_url"]],
        ),
        "input_audio": Object("an audio part", {"input_audio": OBJECT}, needs=[["input_audio"]]),
    },
)
_CONTENT = Either("a string or an array of parts", {str: STRING, list: ListOf("an array of parts", _PART)})
_MESSAGE = Object("a message", {"role": NAME, "content": _CONTENT}, needs=[["role"], ["content"]])
_CALL = {"call_id": NAME, "name": NAME, "namespace": STRING}
_OUTPUT = Object("the output of a tool", {"call_id": NAME, "output": _CONTENT}, needs=[["call_id"], ["output"]])
_OBJECTS = ListOf("an array of objects", OBJECT)
_ITEM = Kinds(
    "an input item",
    {"type": NAME, "role": NAME},
    needs=[["type", "role"]],
    kinds={
        None: _MESSAGE,
        "message": _MESSAGE,
        "function_call": Object(
            "a function call", {**_CALL, "arguments": STRING}, needs=[["call_id"], ["name"], ["arguments"]]
        ),
        "function_call_output": _OUTPUT,
        "custom_tool_call": Object(
            "a call of a custom tool", {**_CALL, "input": STRING}, needs=[["call_id"], ["name"], ["input"]]
        ),
        "custom_tool_call_output": _OUTPUT,
        "reasoning": Object(
            "a reasoning item", {"summary": _OBJECTS, "content": _OBJECTS, "encrypted_content": STRING}
        ),
    },
)
_CALLABLE: Mapping[str | None, Object] = {
    "function": Object(
        "a function",
        {"name": NAME, "description": STRING, "parameters": OBJECT, "strict": BOOLEAN},
        needs=[["name"]],
    ),
    "custom": Object("a custom tool", {"name": NAME, "description": STRING, "format": OBJECT}, needs=[["name"]]),
}
_INNER_TOOL = Kinds("a tool", {"type": NAME}, needs=[["type"]], kinds=_CALLABLE)
_TOOL = Kinds(
    "a tool",
    {"type": NAME},
    needs=[["type"]],
    kinds={
        **_CALLABLE,
        "namespace": Object(
            "a namespace",
            {"name": NAME, "tools": ListOf("an array of tools", _INNER_TOOL)},
            needs=[["name"], ["tools"]],
        ),
    },
)
_FORMAT = Kinds(
    "a format",
    {"type": NAME},
    needs=[["type"]],
    kinds={
        "json_schema": Object(
            "a JSON schema",
            {"name": NAME, "schema": OBJECT, "strict": BOOLEAN, "description": STRING},
            needs=[["name"], ["schema"]],
        )
    },
)
_REQUEST = Object(
    "a request",
    {
        "model": STRING,
        "input": Either("a string or an array of items", {str: STRING, list: ListOf("an array of items", _ITEM)}),
        "instructions": STRING,
        "stream": BOOLEAN,
        "background": BOOLEAN,
        "store": BOOLEAN,
        "tools": ListOf("an array of tools", _TOOL),
        "tool_choice": Either(
            "a string or an object", {str: NAME, dict: Object("a tool choice", {"type": NAME}, needs=[["type"]])}
        ),
        "parallel_tool_calls": BOOLEAN,
        "max_output_tokens": integer(least=1),
        "temperature": number(least=0),
        "top_p": number(0, 1),
        "top_logprobs": integer(0, 20),
        "text": Object("an object", {"format": _FORMAT, "verbosity": STRING}),
        "reasoning": Object("an object", {"effort": STRING, "summary": STRING}),
        "include": ListOf("an array of strings", STRING),
        "metadata": OBJECT,
        "user": STRING,
    },
    needs=[["input"]],
)

#: Fields that change what is asked or when it is answered, so that they can't be ignored, and what to do instead.
_STATE = {
    "previous_response_id": "Send the whole conversation in 'input', as with 'store': false.",
    "conversation": "Send the whole conversation in 'input'.",
    "prompt": "Send the text of the prompt in 'instructions' or 'input'.",
    "background": "Ask for a stream instead.",
}


def validate_request(body: Mapping[str, Any]) -> None:
    """Check a request of the Responses API. Raises BadRequest that names the field."""
    _refuse_state(body)
    if fault := _REQUEST.fault(body):
        raise BadRequest(fault.message, param=fault.place, code=fault.problem)


def _refuse_state(body: Mapping[str, Any]) -> None:
    for name, advice in _STATE.items():
        if body.get(name) not in (None, False):
            raise BadRequest(
                f"This proxy stores no responses, so '{name}' is not available. {advice}",
                param=name,
                code="unsupported_parameter",
            )
