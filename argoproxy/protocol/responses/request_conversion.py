"""A request of the Responses API as the body of a chat completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dict, as_list
from argoproxy.protocol.responses.input_items import convert_items
from argoproxy.protocol.responses.request_shape import validate_request
from argoproxy.protocol.responses.tool_map import ToolMap, convert_tool_choice, convert_tools

#: Fields with the same meaning in both APIs.
_SAME = ("model", "temperature", "top_p", "user")
#: Fields of the chat, and those of the request that they are made of. Positions in arrays differ, so none is named.
FIELD_NAMES = (
    ("messages", "input"),
    ("tools", "tools"),
    ("max_completion_tokens", "max_output_tokens"),
    ("max_tokens", "max_output_tokens"),
    ("reasoning_effort", "reasoning.effort"),
    ("response_format", "text.format"),
    ("verbosity", "text.verbosity"),
    ("logprobs", "include"),
    ("stream_options", "stream"),
)
_LOGPROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"
#: Fields that are read, or that are echoed or describe what is done in any case.
_KNOWN = frozenset(
    (
        *_SAME,
        *"input instructions stream tools tool_choice parallel_tool_calls max_output_tokens top_logprobs text".split(),
        *"reasoning include store metadata background previous_response_id conversation prompt".split(),
    )
)


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A parsed request: `body` as the client sent it, `chat` the body of the chat, `tools` what the chat's functions
    stand for, `left_out` the positions of what has no equivalent."""

    body: Json
    chat: Json
    tools: ToolMap = ToolMap()
    left_out: Sequence[str] = ()

    @property
    def wants_summary(self) -> bool:
        """Whether thoughts are sent as a summary, which more clients show than the reasoning text."""
        return as_dict(self.body.get("reasoning")).get("summary") is not None

    @property
    def wants_encrypted(self) -> bool:
        """Whether reasoning items hold what the next turn needs of them."""
        return _ENCRYPTED in as_list(self.body.get("include"))


def convert_request(body: Json) -> ResponsesRequest:
    """Convert a request. Raises BadRequest that names the field."""
    validate_request(body)
    tools = convert_tools(body.get("tools") or ())
    messages, skipped = _convert_messages(body)
    chat = {key: body[key] for key in _SAME if body.get(key) is not None}
    chat |= {"messages": messages, **_stream_fields(body), **_tool_fields(body, tools), **_output_fields(body)}
    unknown = [key for key in body if key not in _KNOWN]
    return ResponsesRequest(body, chat, tools, (*skipped, *tools.left_out, *unknown))


def describe_request(body: Json) -> ResponsesRequest:
    """Return what a response must know of a request that was converted before."""
    return ResponsesRequest(body, {}, convert_tools(body.get("tools") or ()))


def _convert_messages(body: Json) -> tuple[Sequence[Json], Sequence[str]]:
    question, instructions = body["input"], body.get("instructions")
    items = [{"role": "user", "content": question}] if isinstance(question, str) else question
    model = body.get("model") or ""
    messages, left_out = convert_items(items, model)
    if not messages:
        raise BadRequest("The input contains no message.", param="input", code="invalid_value")
    if instructions and messages[0]["role"] == "system":
        messages[0] = {"role": "system", "content": f"{instructions}\n\n{messages[0]['content']}"}
    elif instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    return messages, left_out


def _stream_fields(body: Json) -> Json:
    return {"stream": True, "stream_options": {"include_usage": True}} if body.get("stream") else {}


def _tool_fields(body: Json, tools: ToolMap) -> Json:
    choice, functions = convert_tool_choice(body.get("tool_choice"), tools)
    if not functions:
        return {}
    parallel = body.get("parallel_tool_calls")
    fields: Json = {"tools": list(functions)}
    fields |= {} if choice is None else {"tool_choice": choice}
    return fields | ({} if parallel is None else {"parallel_tool_calls": parallel})


def _output_fields(body: Json) -> Json:
    text, fields = as_dict(body.get("text")), {}
    if body.get("max_output_tokens") is not None:
        fields["max_tokens"] = body["max_output_tokens"]
    if form := _response_format(as_dict(text.get("format"))):
        fields["response_format"] = form
    if text.get("verbosity") is not None:
        fields["verbosity"] = text["verbosity"]
    if (effort := as_dict(body.get("reasoning")).get("effort")) is not None:
        fields["reasoning_effort"] = effort
    if _LOGPROBS in as_list(body.get("include")):
        fields |= {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0}
    return fields


def _response_format(form: Json) -> Json | None:
    kind: Any = form.get("type", "text")
    if kind == "json_schema":
        schema = {key: value for key, value in form.items() if key != "type" and value is not None}
        return {"type": "json_schema", "json_schema": schema}
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "text":
        raise BadRequest(f"The format {kind!r} is not supported.", param="text.format.type", code="invalid_value")
    return None
