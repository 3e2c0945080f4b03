"""Tools and the choice among them, as chats have them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text

#: Names may have 128 characters in Messages, 64 in chats.
LONGEST_NAME = 64
_DIGEST = 8

#: Tools that Anthropic's servers run; no upstream of chats can.
SERVER_TOOL = re.compile(r"(?:web_search|web_fetch|code_execution|tool_search_tool|mcp_toolset|advisor)(?:_|$)")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def is_function(tool: Json) -> bool:
    """Return whether a tool is an ordinary one, which its client describes and runs."""
    return tool.get("type") in (None, "custom")


def is_server_tool(tool: Json) -> bool:
    """Return whether a tool is one that Anthropic's servers run."""
    return bool(SERVER_TOOL.match(as_text(tool.get("type"))))


def shorten_name(name: str) -> str:
    """Return the name of a tool as chats take it; the same one for the same name, also in the history."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{name[: LONGEST_NAME - _DIGEST - 1]}_{digest}"


def original_names(tools: Any) -> dict[str, str]:
    """Return the names that were shortened, by what became of them."""
    names = [as_text(tool.get("name")) for tool in as_dicts(tools)]
    return {shorten_name(name): name for name in names if len(name) > LONGEST_NAME}


def convert_tools(body: Json) -> Json:
    """Return the fields of a chat for the tools of a request, {} if it has none that a chat could have."""
    tools = [_convert_tool(tool) for tool in as_dicts(body.get("tools")) if is_function(tool)]
    if not tools:
        return {}
    choice = as_dict(body.get("tool_choice"))
    fields: Json = {"tools": tools}
    if choice.get("type") == "tool":
        name = shorten_name(as_text(choice.get("name")))
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif choice.get("type") in _CHOICES:
        fields["tool_choice"] = _CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use") is True:
        fields["parallel_tool_calls"] = False
    return fields


def names_of(tools: Iterable[Json]) -> Sequence[str]:
    """Return the names of tools."""
    return [as_text(tool.get("name")) for tool in tools]


def _convert_tool(tool: Json) -> Json:
    function: Json = {"name": shorten_name(as_text(tool.get("name")))}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}
