"""What of a request no chat can say, and would change the answer if it were left out: refused by name."""

from __future__ import annotations

from collections.abc import Iterator

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.messages.content_blocks import as_blocks
from argoproxy.protocol.messages.tool_fields import is_function, is_server_tool, names_of

_FIELDS = ("mcp_servers", "container")


def check_convertible(body: Json) -> None:
    """Raise BadRequest for what can't be asked of an upstream of chats."""
    for place, what in _obstacles(body):
        raise BadRequest(f"{place}: this model's upstream does not support {what}.", param=place)


def _obstacles(body: Json) -> Iterator[tuple[str, str]]:
    for name in _FIELDS:
        if body.get(name):
            yield name, f"`{name}`"
    yield from _tools(body)
    for row, message in enumerate(as_dicts(body.get("messages"))):
        for column, block in enumerate(as_blocks(message.get("content"))):
            yield from _block(f"messages.{row}.content.{column}", block)


def _tools(body: Json) -> Iterator[tuple[str, str]]:
    tools = as_dicts(body.get("tools"))
    for position, tool in enumerate(tools):
        if not is_function(tool) and not is_server_tool(tool):
            yield f"tools.{position}.type", f"tools of the type {as_text(tool.get('type'))!r}"
    choice = as_dict(body.get("tool_choice"))
    served = names_of(tool for tool in tools if is_server_tool(tool))
    if choice.get("type") == "tool" and choice.get("name") in served:
        yield "tool_choice.name", f"the server tool {choice['name']!r}"
    if choice.get("type") == "any" and served and not any(map(is_function, tools)):
        yield "tool_choice.type", f"the server tool {served[0]!r}"


def _block(place: str, block: Json) -> Iterator[tuple[str, str]]:
    kind, source = block.get("type"), as_dict(block.get("source")).get("type")
    if kind in ("image", "document") and source == "file":
        yield f"{place}.source.type", "files by id"
    elif kind == "document" and source == "url":
        yield f"{place}.source.type", "documents by URL"
    elif kind == "container_upload":
        yield place, "uploads to containers"
    elif kind == "tool_result":
        for position, inner in enumerate(as_blocks(block.get("content"))):
            yield from _block(f"{place}.content.{position}", inner)
