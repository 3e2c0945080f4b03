"""Tools as the families behind Argo's gateway want them, and their calls as OpenAI's clients do.

OpenAI's shape goes through. Claude wants Anthropic's: `{name, description, input_schema}`, calls and results as
content blocks (Anthropic API reference, tool use). Gemini wants `{name, description, parameters}`, and of several
calls in one turn each followed by its own result: the gateway rejects unequal counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_list, dumps, loads

_CLAUDE_CHOICE = {"auto": "auto", "required": "any", "none": "none"}
_GEMINI_CHOICE = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def with_tools_for(family: str, body: Json) -> Json:
    """Give a body whose `tools`, `tool_choice` and `messages` are in a family's shape. Raises BadRequest."""
    if not body.get("tools"):
        body = {key: value for key, value in body.items() if key not in ("tools", "tool_choice", "parallel_tool_calls")}
    if family == "gpt":
        return body
    shaped = {key: value for key, value in body.items() if key != "parallel_tool_calls"}
    if "tools" in shaped:
        schema = "input_schema" if family == "claude" else "parameters"
        shaped["tools"] = [_tool(place, tool, schema) for place, tool in enumerate(as_list(shaped["tools"]))]
    if "tool_choice" in shaped:
        shaped["tool_choice"] = _choice(family, shaped["tool_choice"])
    if isinstance(body.get("messages"), list):
        history = _claude_history if family == "claude" else _gemini_history
        shaped["messages"] = history(body["messages"])
    return shaped


def calls_from(items: Any, call_id: str) -> list[Json]:
    """Read the calls of a reply, in whichever of the three shapes they are; calls without an id get one made of
    `call_id`. Raises UpstreamProtocolError."""
    return [_call(item, f"call_{call_id}_{place}") for place, item in enumerate(as_list(items))]


def _tool(place: int, tool: Any, schema: str) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("This model takes tools of the type `function` with a name.", param=f"tools[{place}]")
    return {
        "name": function["name"],
        "description": function.get("description") or "",
        schema: function.get("parameters") or {"type": "object", "properties": {}},
    }


def _choice(family: str, choice: Any) -> Any:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if family == "gemini":
        return _GEMINI_CHOICE.get(choice, choice) if isinstance(choice, str) else "ANY"
    if name:
        return {"type": "tool", "name": name}
    return {"type": _CLAUDE_CHOICE[choice]} if isinstance(choice, str) and choice in _CLAUDE_CHOICE else choice


def _claude_history(messages: list[Any]) -> list[Any]:
    shaped: list[Any] = []
    for message, results in _turns(messages):
        if message is not None:
            shaped.append(_with_use_blocks(message) if _calls(message) else message)
        if results:
            shaped.append({"role": "user", "content": [_result_block(result) for result in results]})
    return shaped


def _result_block(message: Json) -> Json:
    return {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id"),
        "content": message.get("content") or "",
    }


def _with_use_blocks(message: Json) -> Json:
    said = message.get("content")
    blocks = said if isinstance(said, list) else [{"type": "text", "text": said}] if said else []
    uses = [
        {
            "type": "tool_use",
            "id": call.get("id"),
            "name": _function(call).get("name"),
            "input": _arguments(_function(call).get("arguments")),
        }
        for call in _calls(message)
    ]
    return {"role": "assistant", "content": [*blocks, *uses]}


def _gemini_history(messages: list[Any]) -> list[Any]:
    return [shaped for message, results in _turns(messages) for shaped in _turn(message, results)]


def _turns(messages: list[Any]) -> Iterator[tuple[Any, list[Json]]]:
    """Give each message with the results of tools that follow it; None is said before results that come first."""
    said: Any = None
    results: list[Json] = []
    for message in messages:
        if _role(message) == "tool":
            results.append(message)
            continue
        yield said, results
        said, results = message, []
    yield said, results


def _turn(message: Any, results: list[Json]) -> Iterator[Any]:
    """Give a message and the results that follow it: each call of its own turn with its own result."""
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
    """Group results, each with its place, by the id of the call that they are of."""
    grouped: dict[Any, deque[tuple[int, Json]]] = {}
    for place, result in enumerate(results):
        grouped.setdefault(_key(result.get("tool_call_id")), deque()).append((place, result))
    return grouped


def _key(identity: Any) -> Any:
    """Return an id as a key; one that is no string has the text it is written in."""
    return identity if isinstance(identity, str) or identity is None else (dumps(identity),)


def _call(item: Any, own_id: str) -> Json:
    fields = as_dict(item)
    function = _function(fields) or fields
    name = function.get("name")
    if not isinstance(name, str):
        raise UpstreamProtocolError("The Argo gateway's reply holds a tool call that can't be read.")
    given: Any = next((function[key] for key in ("arguments", "input", "args") if function.get(key) is not None), {})
    return {
        "id": call_id if isinstance(call_id := fields.get("id"), str) and call_id else own_id,
        "type": "function",
        "function": {"name": name, "arguments": given if isinstance(given, str) else dumps(given).decode()},
    }


def _arguments(text: Any) -> Json:
    """Give arguments as the object they are; what a model wrote that is none is kept under one key."""
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
