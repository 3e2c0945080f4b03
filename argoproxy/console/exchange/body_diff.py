"""What differs between the body of a client's request and the one that was sent upstream: what rules and adapters
changed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from argoproxy.console.exchange.exchange_shapes import Change
from argoproxy.console.exchange.parts import shorten
from argoproxy.protocol.json_text import Json, as_dict, as_text

MOST_CHANGES = 200
#: Characters of a value that are shown.
MOST_CHARACTERS = 2000
#: Below this depth values are compared whole.
DEEPEST = 12
#: Where other APIs have what is the first message of a chat.
_SYSTEM = ("system", "instructions")
_MISSING = object()


def find_changes(before: Json, after: Json) -> list[Change]:
    """Return the changes, MOST_CHANGES at most. That another API says the same elsewhere is no change."""
    return list(islice(_differ("", _as_chat(before), _as_chat(after), 0), MOST_CHANGES))


def _as_chat(body: Json) -> Json:
    """Return a request with its messages, tools and parameters where OpenAI's chats have them."""
    inner = as_dict(body.get("input"))
    if inner and isinstance(body.get("parameters", {}), dict):  # DashScope's
        rest = {name: value for name, value in body.items() if name not in ("input", "parameters")}
        return {**rest, **inner, **as_dict(body.get("parameters"))}
    chat = {name: value for name, value in body.items() if name not in _SYSTEM}
    if isinstance(body.get("input"), str) and "instructions" in body:  # of the Responses API
        chat["messages"] = [{"role": "user", "content": chat.pop("input")}]
    system = next((_as_plain_text(body[name]) for name in _SYSTEM if name in body), "")
    if isinstance(chat.get("messages"), list) and system:
        chat["messages"] = [{"role": "system", "content": system}, *chat["messages"]]
    elif system:
        return body
    if isinstance(chat.get("tools"), list):
        chat["tools"] = [_as_chat_tool(tool) for tool in chat["tools"]]
    return chat


def _as_chat_tool(tool: Any) -> Any:
    """Return a tool of Anthropic's Messages or of the Responses API as one of a chat."""
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    schema = tool.get("input_schema", tool.get("parameters"))
    described = {"name": tool["name"], "description": tool.get("description"), "parameters": schema}
    return {"type": "function", "function": {name: value for name, value in described.items() if value is not None}}


def _as_plain_text(content: Any) -> str:
    """Return a content that is a text, or a list of pieces that are; "" for any other."""
    if isinstance(content, list):
        return "\n".join(as_text(as_dict(part).get("text")) for part in content)
    return as_text(content)


def _differ(path: str, before: Any, after: Any, depth: int) -> Iterator[Change]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and depth < DEEPEST:
        for name in {**before, **after}:
            inner = f"{path}.{name}" if path else name
            yield from _differ(inner, before.get(name, _MISSING), after.get(name, _MISSING), depth + 1)
    elif isinstance(before, list) and isinstance(after, list) and depth < DEEPEST:
        yield from _differ_in_lists(path, before, after, depth + 1)
    elif type(before) is not type(after) or before != after:
        yield _change(path, before, after)


def _differ_in_lists(path: str, before: list[Any], after: list[Any], depth: int) -> Iterator[Change]:
    """Compare what is between the parts that are equal at both ends: so a message that was put in front is one
    change."""
    shortest = min(len(before), len(after))
    start = next((index for index in range(shortest) if before[index] != after[index]), shortest)
    rest = shortest - start
    end = next((index for index in range(rest) if before[-1 - index] != after[-1 - index]), rest)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index in range(max(len(old), len(new))):
        one = old[index] if index < len(old) else _MISSING
        other = new[index] if index < len(new) else _MISSING
        yield from _differ(f"{path}[{start + index}]", one, other, depth)


def _change(path: str, before: Any, after: Any) -> Change:
    kind = "added" if before is _MISSING else "removed" if after is _MISSING else "changed"
    return {"path": path, "kind": kind, "before": _show(before), "after": _show(after)}  # type: ignore[typeddict-item]


def _show(value: Any) -> str:
    text = "" if value is _MISSING else shorten(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
