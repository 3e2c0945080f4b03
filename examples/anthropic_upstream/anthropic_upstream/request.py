"""Build the body of POST /v1/messages from the body of a chat completion.

A parameter that would change the form of the answer, and that Anthropic does not have, is refused. One that only
affects sampling (seed, penalties, logit_bias) is left out, and so is every field that Anthropic does not know: it
rejects those. Anthropic's own fields, if clients send them besides OpenAI's, are sent as they are. Source: Anthropic
API reference, Messages.
"""

from __future__ import annotations

from typing import Any

from anthropic_upstream.messages import cache_mark, conversation, needs_reasoning
from argoproxy.api import BadRequest, Json

#: Anthropic's own fields, for which OpenAI has no other name.
NATIVE_FIELDS = ("cache_control", "container", "inference_geo", "speed", "top_k")

_REFUSED = {
    "n": "returns one choice only",
    "logprobs": "returns no log probabilities",
    "top_logprobs": "returns no log probabilities",
    "functions": "has `tools` instead",
    "function_call": "has `tool_choice` instead",
}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_EFFORTS = {"minimal": "low", **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")}}
#: Without `display` the newest models do not return their reasoning.
_ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def messages_body(body: Json, default_max_tokens: int) -> Json:
    """Return the body to send. Raises BadRequest, which names the parameter."""
    _refuse(body)
    system, turns = conversation(body.get("messages"))
    tools = _tools(body)
    request: Json = {
        "model": body.get("model"),
        "max_tokens": _first(body.get("max_completion_tokens"), body.get("max_tokens"), default_max_tokens),
        "system": system,
        "messages": turns,
        "stop_sequences": _stops(body.get("stop")),
        "temperature": _temperature(body.get("temperature")),
        "top_p": _top_p(body.get("top_p")),
        "stream": True if body.get("stream") is True else None,
        "metadata": _metadata(body),
        "output_config": _output_config(body),
        **tools,
        **{name: body[name] for name in NATIVE_FIELDS if name in body},
        "thinking": _first(body.get("thinking"), _thinking(body.get("reasoning_effort"))),
    }
    return {name: value for name, value in _without_conflicts(request).items() if value not in (None, [], {})}


def _refuse(body: Json) -> None:
    """Raise BadRequest for a parameter that would change the form of the answer and that Anthropic does not have."""
    for param, why in _REFUSED.items():
        value = body.get(param)
        if value and not (param == "n" and value == 1):
            raise BadRequest(f"Anthropic {why}.", param=param, code="unsupported_parameter")
    modalities = body.get("modalities")
    if isinstance(modalities, list) and set(map(str, modalities)) - {"text"}:
        raise BadRequest("Anthropic answers in text only.", param="modalities", code="unsupported_value")


def _without_conflicts(request: Json) -> Json:
    """Remove what Anthropic rejects in combination: thinking with a forced tool call, a thinking budget after tool
    calls whose reasoning is lost, a temperature or top_k with thinking."""
    kind = _dict(request["thinking"]).get("type", "disabled")
    if kind == "disabled":
        return request
    must_call = _dict(request.get("tool_choice")).get("type") in ("any", "tool")
    if must_call or (kind == "enabled" and needs_reasoning(request["messages"])):
        return {**request, "thinking": None}
    return {**request, "temperature": None, "top_k": None}


def _thinking(effort: Any) -> Json | None:
    if effort == "none":
        return {"type": "disabled"}
    return None if effort is None else _ADAPTIVE


def _output_config(body: Json) -> Json:
    config: Json = {}
    effort = body.get("reasoning_effort")
    if effort not in (None, "none"):
        if not isinstance(effort, str) or effort not in _EFFORTS:
            raise BadRequest(f"`reasoning_effort` is none, {', '.join(_EFFORTS)}.", param="reasoning_effort")
        config["effort"] = _EFFORTS[effort]
    if form := _format(_dict(body.get("response_format"))):
        config["format"] = form
    return {**config, **_dict(body.get("output_config"))}


def _format(response_format: Json) -> Json | None:
    kind = response_format.get("type", "text")
    if kind == "text":
        return None
    schema = _dict(response_format.get("json_schema")).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest("Anthropic needs a schema for JSON: use the type `json_schema`.", param="response_format")
    return {"type": "json_schema", "schema": schema}


def _tools(body: Json) -> Json:
    """Return `tools` and `tool_choice`, or nothing if there are no tools."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    choice = _choice(body.get("tool_choice"))
    if body.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return {"tools": [_tool(tool, f"tools[{place}]") for place, tool in enumerate(tools)], "tool_choice": choice}


def _tool(tool: Any, place: str) -> Json:
    """Convert a tool; one in Anthropic's format, or one that Anthropic runs itself, stays as it is."""
    fields = _dict(tool)
    if "input_schema" in fields or fields.get("type", "function") not in ("function", "custom"):
        return fields
    function = _dict(fields.get("function")) or fields
    if fields.get("type") == "custom" or not isinstance(function.get("name"), str):
        raise BadRequest("Anthropic takes tools of the type `function` with a name.", param=place)
    optional = {"description": function.get("description"), "strict": function.get("strict")}
    return {
        "name": function["name"],
        **{name: value for name, value in optional.items() if value},
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        **cache_mark({**function, **fields}),
    }


def _choice(choice: Any) -> Json:
    if choice is None:
        return {}
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    fields = _dict(choice)
    name = fields.get("name") or _dict(fields.get("function")).get("name")
    if not isinstance(name, str):
        raise BadRequest("`tool_choice` is auto, none, required or a function with a name.", param="tool_choice")
    return {"type": "tool", "name": name}


def _stops(stop: Any) -> list[Any]:
    stops = stop if isinstance(stop, list) else [] if stop is None else [stop]
    if any(isinstance(text, str) and not text.strip() for text in stops):
        raise BadRequest("Anthropic does not accept blank stop sequences.", param="stop", code="unsupported_value")
    return stops


def _temperature(value: Any) -> Any:
    """Limit a temperature to Anthropic's range, 0 to 1; OpenAI's is 0 to 2."""
    return min(value, 1) if isinstance(value, int | float) else value


def _top_p(value: Any) -> Any:
    """Leave out 1, the default: the newest models reject top_p together with a temperature."""
    return None if value == 1 else value


def _metadata(body: Json) -> Json:
    user = body.get("safety_identifier") or body.get("user")
    return {"user_id": user} if user else {}


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
