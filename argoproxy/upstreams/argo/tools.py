"""Convert tools to the form of the model's family, and tool calls to OpenAI's.

OpenAI's form is passed on. Claude needs Anthropic's: `{name, description, input_schema}`, with calls and results as
content blocks (Anthropic API reference, tool use). Gemini needs `{name, description, parameters}`, and each of several
calls in one turn followed by its own result, because the gateway rejects a turn whose calls and results differ in
number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_list, dumps, loads
from argoproxy.protocol.stream.sse import encode_json

_CLAUDE_CHOICE = {"auto": "auto", "required": "any", "none": "none"}
_GEMINI_CHOICE = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def convert_tools(family: str, body: Json) -> Json:
    """Return a body with `tools`, `tool_choice` and `messages` in the form of a family. Raises BadRequest."""
    if not body.get("tools"):
        body = {key: value for key, value in body.items() if key not in ("tools", "tool_choice", "parallel_tool_calls")}
    if family == "gpt":
        return body
    converted = {key: value for key, value in body.items() if key != "parallel_tool_calls"}
    if "tools" in converted:
        schema = "input_schema" if family == "claude" else "parameters"
        converted["tools"] = [
            _convert_tool(place, tool, schema) for place, tool in enumerate(as_list(converted["tools"]))
        ]
    if "tool_choice" in converted:
        converted["tool_choice"] = _convert_choice(family, converted["tool_choice"])
    if isinstance(body.get("messages"), list):
        history = _claude_history if family == "claude" else _gemini_history
        converted["messages"] = history(body["messages"])
    return converted


def parse_calls(items: Any, call_id: str) -> list[Json]:
    """Parse the tool calls of a reply, in any of the three forms. Calls without an id get one made of `call_id`. Raises
    UpstreamProtocolError."""
    return [_parse_call(item, f"call_{call_id}_{place}") for place, item in enumerate(as_list(items))]


def _convert_tool(place: int, tool: Any, schema: str) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("This model only supports tools of the type `function` with a name.", param=f"tools[{place}]")
    return {
        "name": function["name"],
        "description": function.get("description") or "",
        schema: function.get("parameters") or {"type": "object", "properties": {}},
    }


def _convert_choice(family: str, choice: Any) -> Any:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if family == "gemini":
        return _GEMINI_CHOICE.get(choice, choice) if isinstance(choice, str) else "ANY"
    if name:
        return {"type": "tool", "name": name}
    return {"type": _CLAUDE_CHOICE[choice]} if isinstance(choice, str) and choice in _CLAUDE_CHOICE else choice


def _claude_history(messages: list[Any]) -> list[Any]:
    converted: list[Any] = []
    for message, results in _turns(messages):
        if message is not None:
            converted.append(_with_use_blocks(message) if _calls(message) else message)
        if results:
            converted.append({"role": "user", "content": [_result_block(result) for result in results]})
    return converted


def _result_block(message: Json) -> Json:
    return {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id"),
        "content": message.get("content") or "",
    }


def _with_use_blocks(message: Json) -> Json:
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    uses = [
        {
            "type": "tool_use",
            "id": call.get("id"),
            "name": _function(call).get("name"),
            "input": _parse_arguments(_function(call).get("arguments")),
        }
        for call in _calls(message)
    ]
    return {"role": "assistant", "content": [*blocks, *uses]}


def _gemini_history(messages: list[Any]) -> list[Any]:
    return [converted for message, results in _turns(messages) for converted in _turn(message, results)]


def _turns(messages: list[Any]) -> Iterator[tuple[Any, list[Json]]]:
    """Yield each message with the tool results that follow it; None for results without a message before them."""
    current: Any = None
    results: list[Json] = []
    for message in messages:
        if _role(message) == "tool":
            results.append(message)
            continue
        yield current, results
        current, results = message, []
    yield current, results


def _turn(message: Any, results: list[Json]) -> Iterator[Any]:
    """Yield a message and the results that follow it; of several calls each as its own message with its own result."""
    calls = _calls(message)
    if message is not None and not calls:
        yield message
    unclaimed = _by_call(results if calls else ())
    for place, call in enumerate(calls):
        head = (
            {"role": message["role"], "content": ""} if place else {**message, "content": message.get("content") or ""}
        )
        yield {**head, "tool_calls": [call]}
        if claimed := unclaimed.get(_key(call.get("id"))):
            yield {**claimed.popleft()[1], "name": _function(call).get("name")}
    left = sorted(chain.from_iterable(unclaimed.values()), key=itemgetter(0))
    yield from [result for _, result in left] if calls else results


def _by_call(results: Iterable[Json]) -> dict[Any, deque[tuple[int, Json]]]:
    """Group results, each with its position, by the id of their call."""
    grouped: dict[Any, deque[tuple[int, Json]]] = {}
    for place, result in enumerate(results):
        grouped.setdefault(_key(result.get("tool_call_id")), deque()).append((place, result))
    return grouped


def _key(identity: Any) -> Any:
    """Return an id as a key of a dict; one that is not a string as its JSON."""
    return identity if isinstance(identity, str) or identity is None else (dumps(identity),)


def _parse_call(item: Any, own_id: str) -> Json:
    fields = as_dict(item)
    function = _function(fields) or fields
    name = function.get("name")
    if not isinstance(name, str):
        raise UpstreamProtocolError("The Argo gateway's reply contains a tool call that can't be parsed.")
    arguments: Any = next(
        (function[key] for key in ("arguments", "input", "args") if function.get(key) is not None), {}
    )
    return {
        "id": call_id if isinstance(call_id := fields.get("id"), str) and call_id else own_id,
        "type": "function",
        "function": {
            "name": name,
            "arguments": arguments if isinstance(arguments, str) else encode_json(arguments).decode(),
        },
    }


def _parse_arguments(text: Any) -> Json:
    """Return arguments as an object; what a model wrote that is not one is kept under the key `arguments`."""
    try:
        value = loads(text.encode("utf-8", "replace")) if isinstance(text, str) and text.strip() else {}
    except JsonError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _calls(message: Any) -> list[Json]:
    if _role(message) != "assistant":
        return []
    return as_dicts(message.get("tool_calls"))


def _function(call: Json) -> Json:
    function = call.get("function")
    return as_dict(function)
