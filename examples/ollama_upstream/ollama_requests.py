"""Build the body of POST /api/chat from the body of a chat completion.

A parameter that would change the form of the answer, and that Ollama does not have, is refused. One that only affects
sampling is left out. Source: Ollama API reference, https://docs.ollama.com/api/chat.
"""

from __future__ import annotations

import re
from typing import Any

from argoproxy.api import BadRequest, Json, JsonError, loads_strict

#: OpenAI's parameters that are `options` of Ollama, with the names that they have there.
OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
#: What clients may send in Ollama's own words.
NATIVE_FIELDS = ("think", "keep_alive")
NATIVE_OPTIONS = ("num_ctx", "top_k", "min_p", "repeat_penalty")

_REFUSED = {"logprobs": "returns no log probabilities here", "functions": "has `tools` in their place"}
_EFFORTS: dict[str, bool | str] = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")


def build_chat(body: Json) -> Json:
    """Return the body to send. Raises BadRequest, which names the parameter."""
    _refuse(body)
    chat: Json = {
        "model": body.get("model"),
        "messages": build_messages(body.get("messages") or []),
        # Ollama streams unless it is told not to.
        "stream": body.get("stream") is True,
        "tools": _tools(body),
        "format": _format(body.get("response_format")),
        "think": _think(body.get("reasoning_effort")),
        "options": _options(body),
    }
    chat |= {name: body[name] for name in NATIVE_FIELDS if name in body}
    return {name: value for name, value in chat.items() if value not in (None, [], {})}


def _refuse(body: Json) -> None:
    """Raise BadRequest for a parameter that would change the form of the answer and that Ollama does not have."""
    if body.get("n") not in (None, 1):
        raise BadRequest("Ollama returns one choice only.", param="n", code="unsupported_parameter")
    for param, why in _REFUSED.items():
        if body.get(param):
            raise BadRequest(f"Ollama {why}.", param=param, code="unsupported_parameter")


def build_messages(messages: list[Json]) -> list[Json]:
    """Convert messages. Results of tools name the tool, which only the call before them knows."""
    names: dict[Any, str] = {}
    converted = []
    for place, message in enumerate(messages):
        calls = _calls(message.get("tool_calls") or [], f"messages[{place}].tool_calls")
        names |= {call["id"]: call["function"]["name"] for call in calls}
        text, images = _content(message.get("content"), f"messages[{place}].content")
        fields = {
            "images": images,
            "thinking": message.get("reasoning_content"),
            "tool_calls": calls,
            "tool_call_id": message.get("tool_call_id"),
            "tool_name": names.get(message.get("tool_call_id")),
        }
        role = "system" if message.get("role") == "developer" else message.get("role")
        converted.append({"role": role, "content": text, **{name: value for name, value in fields.items() if value}})
    return converted


def _content(content: Any, place: str) -> tuple[str, list[str]]:
    """Return the text and the images of a message; parts of text are lines."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), []
    texts, images = [], []
    for index, part in enumerate(content):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                images.append(_image(url, f"{place}[{index}]"))
            case _:
                raise BadRequest("Ollama takes text and images.", param=f"{place}[{index}]", code="unsupported_value")
    return "\n".join(texts), images


def _image(url: str, place: str) -> str:
    """Return the base64 of an image. Ollama fetches none: the setting `inline_images` has the proxy fetch them."""
    if not (start := _DATA_URL.match(url)):
        raise BadRequest("Ollama takes images as data: URLs with base64.", param=place, code="unsupported_value")
    return url[start.end() :]


def _calls(calls: list[Json], place: str) -> list[Json]:
    """Convert tool calls: their arguments are an object, not a text."""
    converted = []
    for index, call in enumerate(calls):
        match call:
            case {"function": {"name": str(name), "arguments": str(text)}}:
                arguments = _arguments(text, f"{place}[{index}].function.arguments")
                converted.append({"id": call.get("id"), "function": {"name": name, "arguments": arguments}})
            case _:
                raise BadRequest("Ollama takes calls of functions.", param=f"{place}[{index}]")
    return converted


def _arguments(text: str, place: str) -> Json:
    try:
        arguments = loads_strict(text.encode() or b"{}")
    except JsonError as error:
        raise BadRequest(f"The arguments of a call are not JSON: {error}.", param=place) from None
    if not isinstance(arguments, dict):
        raise BadRequest("The arguments of a call are a JSON object.", param=place)
    return arguments


def _tools(body: Json) -> Any:
    """Return the tools. Ollama can't be told to call one: only `auto` and `none` are possible."""
    choice = body.get("tool_choice", "auto")
    if choice not in (None, "auto", "none"):
        raise BadRequest("Ollama can't be forced to call a tool.", param="tool_choice", code="unsupported_value")
    return None if choice == "none" else body.get("tools")


def _format(response_format: Any) -> Any:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return "json"
        case None | {"type": "text"}:
            return None
    raise BadRequest("Ollama takes `text`, `json_object` and a `json_schema` with a schema.", param="response_format")


def _think(effort: Any) -> bool | str | None:
    if effort is None:
        return None
    if not isinstance(effort, str) or effort not in _EFFORTS:
        raise BadRequest(f"`reasoning_effort` is one of {', '.join(_EFFORTS)}.", param="reasoning_effort")
    return _EFFORTS[effort]


def _options(body: Json) -> Json:
    stop = body.get("stop")
    options = {there: body[here] for here, there in OPTIONS.items() if body.get(here) is not None}
    options |= {name: body[name] for name in NATIVE_OPTIONS if name in body}
    return {**options, **({"stop": [stop] if isinstance(stop, str) else stop} if stop else {})}
