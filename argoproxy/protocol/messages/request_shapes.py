"""What a request of Messages may hold (Anthropic API reference and the SDKs' types of 2026-08). A line is as lenient as
the API; fields and types without a line pass."""

from __future__ import annotations

from collections.abc import Mapping

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

_STRING_TYPE = frozenset((str,))
ROLE = Plain("'user', 'assistant' or 'system'", _STRING_TYPE, frozenset(("user", "assistant", "system")).__contains__)
CHOICE = Plain("'auto', 'any', 'tool' or 'none'", _STRING_TYPE, frozenset(("auto", "any", "tool", "none")).__contains__)
TEXT = Object("a text block", {"text": STRING}, needs=[["text"]])
_SOURCES: Mapping[str | None, Object] = {
    "base64": Object("a base64 source", {"media_type": NAME, "data": NAME}, needs=[["media_type"], ["data"]]),
    "url": Object("a URL source", {"url": NAME}, needs=[["url"]]),
}
SOURCE = Kinds(
    "a source",
    {"type": NAME},
    needs=[["type"]],
    kinds={
        "base64": Object("a base64 source", {"media_type": NAME, "data": NAME}, needs=[["media_type"], ["data"]]),
        "url": Object("a URL source", {"url": NAME}, needs=[["url"]]),
    },
)
MEDIA = Object("a block with a source", {"source": SOURCE}, needs=[["source"]])
_BASIC: Mapping[str | None, Object] = {"text": TEXT, "image": MEDIA, "document": MEDIA}
PLAIN_BLOCK = Kinds("a content block", {"type": NAME}, needs=[["type"]], kinds=_BASIC)
RESULT = Object(
    "a tool result",
    {
        "tool_use_id": NAME,
        "content": Either(
            "a string or an array of blocks", {str: STRING, list: ListOf("an array of blocks", PLAIN_BLOCK)}
        ),
        "is_error": BOOLEAN,
    },
    needs=[["tool_use_id"]],
)
BLOCK = Kinds(
    "a content block",
    {"type": NAME},
    needs=[["type"]],
    kinds={
        **_BASIC,
        "tool_use": Object("a tool use", {"id": NAME, "name": NAME, "input": OBJECT}, needs=[["id"], ["name"]]),
        "tool_result": RESULT,
        "thinking": Object("a thinking block", {"thinking": STRING, "signature": STRING}, needs=[["thinking"]]),
        "redacted_thinking": Object("a redacted thinking block", {"data": STRING}, needs=[["data"]]),
    },
)
CONTENT = Either("a string or an array of blocks", {str: STRING, list: ListOf("an array of blocks", BLOCK)})
MESSAGE = Object("a message", {"role": ROLE, "content": CONTENT}, needs=[["role"], ["content"]])
TOOL = Object("a tool", {"name": NAME, "type": NAME, "description": STRING, "input_schema": OBJECT, "strict": BOOLEAN})
FUNCTION = Object("a tool", {"name": NAME, "input_schema": OBJECT}, needs=[["name"], ["input_schema"]])
TOOLS = ListOf("an array of tools", Kinds("a tool", TOOL.fields, kinds={None: FUNCTION, "custom": FUNCTION}))
TOOL_CHOICE = Kinds(
    "an object with a type",
    {"type": CHOICE, "disable_parallel_tool_use": BOOLEAN},
    needs=[["type"]],
    kinds={"tool": Object("a tool choice", {"name": NAME}, needs=[["name"]])},
)
TEXT_BLOCK = Kinds("a text block", {"type": NAME}, needs=[["type"]], kinds={"text": TEXT})

COUNTED: Mapping[str, Shape] = {
    "model": STRING,
    "messages": ListOf("a non-empty array of messages", MESSAGE, least=1),
    "stop_sequences": ListOf("an array of strings", STRING, sure=_STRING_TYPE),
    "system": Either("a string or an array of text blocks", {str: STRING, list: ListOf("text blocks", TEXT_BLOCK)}),
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "thinking": Object("an object with a type", {"type": NAME, "budget_tokens": integer(least=1)}, needs=[["type"]]),
    "output_config": Object("an object", {"effort": NAME, "format": OBJECT}),
}
FIELDS: Mapping[str, Shape] = {
    **COUNTED,
    "max_tokens": integer(least=1),
    "stream": BOOLEAN,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": integer(least=0),
    "metadata": Object("an object", {"user_id": STRING}),
    "service_tier": STRING,
}
MESSAGES = Object("a request", FIELDS, needs=[["max_tokens"], ["messages"]])
COUNT_TOKENS = Object("a request", COUNTED, needs=[["messages"]])
