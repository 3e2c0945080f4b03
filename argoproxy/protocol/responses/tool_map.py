"""The tools of a request, as functions that any upstream knows, and their names on the way back.

A custom tool, whose input is free text, becomes a function with one string; the tools of a namespace are put beside
the others under names that contain it. Tools that OpenAI's servers run themselves can't be offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_text, dumps, loads

#: The name of the only parameter of a function that stands for a custom tool.
INPUT = "input"
#: OpenAI takes names of up to 64 characters; others take what it takes.
_LONGEST_NAME = 64
_CUSTOM_PARAMETERS: Json = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The input of the tool, as plain text."}},
    "required": [INPUT],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as its client knows it; `kind` is function or custom."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def chat_name(self) -> str:
        """Its name as a function. The same tool has the same name in each request, so that a history fits."""
        name = f"{self.namespace}__{self.name}" if self.namespace else self.name
        if len(name) <= _LONGEST_NAME:
            return name
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
        return f"{name[: _LONGEST_NAME - 11]}_{digest}"


@dataclass(frozen=True, slots=True)
class ToolMap:
    """The tools of a request: `functions` in the form of chat completions, `by_name` what they stand for, `left_out`
    the positions of those that can't be offered."""

    functions: Sequence[Json] = ()
    by_name: Mapping[str, Tool] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def find(self, chat_name: str) -> Tool:
        """Return the tool that a function stands for; a function of that name if it stands for none."""
        return self.by_name.get(chat_name) or Tool("function", chat_name)


def convert_tools(tools: Sequence[Json]) -> ToolMap:
    """Convert a request's tools. Raises BadRequest if none of them can be offered, or if two have the same name."""
    functions: list[Json] = []
    by_name: dict[str, Tool] = {}
    left_out: list[str] = []
    for place, tool, definition in _flatten(tools):
        if tool is None:
            left_out.append(place)
        elif by_name.get(tool.chat_name, tool) != tool:
            raise BadRequest(f"Two tools have the name {tool.chat_name!r}.", param=f"{place}.name")
        elif tool.chat_name not in by_name:
            by_name[tool.chat_name] = tool
            functions.append({"type": "function", "function": _function(tool, definition)})
    if left_out and not functions:
        kind = as_text(tools[0].get("type"))
        raise BadRequest(
            f"Tools of the type {kind!r} run on OpenAI's servers and are not available here; use function tools.",
            param=f"{left_out[0]}.type",
            code="unsupported_tool",
        )
    return ToolMap(functions, by_name, left_out)


def convert_tool_choice(choice: Any, tools: ToolMap) -> tuple[Any, Sequence[Json]]:
    """Return the `tool_choice` of a chat, None for none, and the functions that are offered. Raises BadRequest."""
    if not tools.functions:
        if choice not in (None, "auto", "none"):
            raise BadRequest("`tool_choice` needs tools.", param="tool_choice")
        return None, ()
    if choice is None or isinstance(choice, str):
        return choice, tools.functions
    if choice.get("type") == "allowed_tools":
        allowed = {_find_choice(one, tools) for one in as_dicts(choice.get("tools"))}
        functions = [one for one in tools.functions if one["function"]["name"] in allowed]
        return choice.get("mode") or "auto", functions
    return {"type": "function", "function": {"name": _find_choice(choice, tools)}}, tools.functions


def wrap_input(text: str) -> str:
    """Return the input of a custom tool as the arguments of its function."""
    return dumps({INPUT: text}).decode()


def unwrap_input(arguments: str) -> str:
    """Return the input of a custom tool in the arguments of its function; arguments of another form are the input."""
    try:
        value = loads(arguments.encode("utf-8", "surrogatepass"))
    except JsonError:
        return arguments
    text = as_dict(value).get(INPUT)
    return text if isinstance(text, str) else arguments


def _find_choice(choice: Json, tools: ToolMap) -> str:
    tool = Tool(as_text(choice.get("type")), as_text(choice.get("name")), as_text(choice.get("namespace")))
    if tools.by_name.get(tool.chat_name) != tool:
        raise BadRequest(
            f"`tool_choice` names a tool that can't be offered: {tool.kind} {tool.name}.", param="tool_choice"
        )
    return tool.chat_name


def _flatten(tools: Sequence[Json]) -> Iterator[tuple[str, Tool | None, Json]]:
    """Yield the position of each tool, the tool (None if it can't be offered), and its definition."""
    for index, definition in enumerate(tools):
        if definition["type"] != "namespace":
            yield f"tools[{index}]", _tool(definition, ""), definition
            continue
        for row, inner in enumerate(as_dicts(definition.get("tools"))):
            yield f"tools[{index}].tools[{row}]", _tool(inner, as_text(definition.get("name"))), inner


def _tool(definition: Json, namespace: str) -> Tool | None:
    kind = definition.get("type")
    return Tool(kind, definition["name"], namespace) if kind in ("function", "custom") else None


def _function(tool: Tool, definition: Json) -> Json:
    description = as_text(definition.get("description"))
    if tool.kind == "custom":
        parts = [description, _describe_format(as_dict(definition.get("format")))]
        text = "\n\n".join(filter(None, parts))
        described = {"description": text} if text else {}
        return {"name": tool.chat_name, **described, "parameters": _CUSTOM_PARAMETERS}
    kept = {key: definition[key] for key in ("description", "parameters", "strict") if definition.get(key) is not None}
    return {"name": tool.chat_name, **kept}


def _describe_format(form: Json) -> str:
    if form.get("type") != "grammar":
        return ""
    return f"The input must follow this {as_text(form.get('syntax'))} grammar:\n\n{as_text(form.get('definition'))}"
