"""OpenAI's tools and the choice of one in Anthropic's format.

A custom tool, which takes free text, becomes a function with one text, `input`; replies turn its calls back
(`custom_names`). Tools in Anthropic's own format, and those that Anthropic runs itself, stay as they are.
Source: Anthropic API reference, Tool use; OpenAI API reference, chat completions.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list, as_text
from argoproxy.upstreams.anthropic.blocks import cache_mark

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_FREE_TEXT: Json = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def make_tools(body: Json) -> Json:
    """Return `tools` and `tool_choice`, {} if there are no tools. Raises BadRequest."""
    searches = (
        [_make_web_search(body["web_search_options"])] if isinstance(body.get("web_search_options"), dict) else []
    )
    tools = [_make_tool(tool, f"tools[{place}]") for place, tool in enumerate(as_list(body.get("tools")))]
    if not (tools or searches):
        return {}
    wanted = as_dict(body.get("tool_choice"))
    allowed = as_dict(wanted.get("allowed_tools") if wanted.get("type") == "allowed_tools" else None)
    if allowed:
        names = {_name_of(tool) for tool in as_dicts(allowed.get("tools"))}
        tools = [tool for tool in tools if as_text(tool.get("name")) in names]
    choice = _make_choice(allowed.get("mode", "auto") if allowed else body.get("tool_choice"))
    if body.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return {"tools": [*tools, *searches], "tool_choice": choice}


def custom_names(body: Json) -> frozenset[str]:
    """Return the names of a request's custom tools."""
    return frozenset(_name_of(tool) for tool in as_dicts(body.get("tools")) if _is_custom(tool))


def _is_custom(tool: Json) -> bool:
    """Return whether a tool is one of OpenAI's that take free text; Anthropic calls ordinary functions `custom`."""
    return tool.get("type") == "custom" and "input_schema" not in tool


def _name_of(tool: Json) -> str:
    kind = as_text(tool.get("type"))
    return as_text((as_dict(tool.get(kind)) or tool).get("name"))


def _make_tool(tool: Any, position: str) -> Json:
    fields = as_dict(tool)
    if "input_schema" in fields or fields.get("type", "function") not in ("function", "custom"):
        return fields
    function = as_dict(fields.get(fields.get("type", "function"))) or fields
    if not isinstance(function.get("name"), str):
        raise BadRequest("Anthropic takes tools of the types `function` and `custom`, with a name.", param=position)
    schema = _FREE_TEXT if _is_custom(fields) else function.get("parameters") or _NO_PARAMETERS
    optional = {"description": _describe(function), "strict": function.get("strict")}
    return {
        "name": function["name"],
        **{name: value for name, value in optional.items() if value},
        "input_schema": schema,
        **cache_mark({**function, **fields}),
    }


def _describe(function: Json) -> Any:
    """Return the description of a tool, with the grammar of its text if it has one."""
    grammar = as_dict(as_dict(function.get("format")).get("grammar"))
    if not isinstance(grammar.get("definition"), str):
        return function.get("description")
    syntax = as_text(grammar.get("syntax")) or "following"
    described = f"The input follows this {syntax} grammar:\n{grammar['definition']}"
    return f"{as_text(function.get('description'))}\n\n{described}".lstrip()


def _make_web_search(options: Json) -> Json:
    location = as_dict(as_dict(options.get("user_location")).get("approximate"))
    return {**_WEB_SEARCH, **({"user_location": {"type": "approximate", **location}} if location else {})}


def _make_choice(choice: Any) -> Json:
    if choice is None:
        return {}
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    name = _name_of(as_dict(choice))
    if not name:
        raise BadRequest("`tool_choice` is auto, none, required or a tool with a name.", param="tool_choice")
    return {"type": "tool", "name": name}
