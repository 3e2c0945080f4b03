"""The pieces of messages, in whatever API they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from argoproxy.console.exchange.exchange_shapes import PartKind, ShownPart
from argoproxy.protocol.json_text import Json, as_dict, as_list, as_text, dumps

#: Characters of a piece that are shown; a page with more is no help.
MOST_CHARACTERS = 100_000
#: Fields in which models think, in the order in which they are read.
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
#: Types of pieces whose content is no text.
_MEDIA = ("image", "audio", "video", "file", "document")


def make_part(kind: PartKind, text: str, place: str, name: str = "", call_id: str = "") -> ShownPart:
    """Return a piece, cut at MOST_CHARACTERS."""
    cut = max(0, len(text) - MOST_CHARACTERS)
    shown = text[:MOST_CHARACTERS]
    return {"kind": kind, "text": shown, "place": place, "name": name, "id": call_id, "fate": "", "cut": cut}


def read_message(message: Json) -> Iterator[ShownPart]:
    """Yield the pieces of a message of a chat: its thoughts, its content, its tool calls."""
    for field in THOUGHT_FIELDS:
        if text := as_text(message.get(field)):
            yield make_part("thought", text, field)
    kind: PartKind = "tool_result" if message.get("role") == "tool" else "text"
    for part in read_content(message.get("content"), "content"):
        yield {**part, "kind": kind, "id": as_text(message.get("tool_call_id"))} if part["kind"] == "text" else part
    if refusal := as_text(message.get("refusal")):
        yield make_part("refusal", refusal, "refusal")
    for call in as_list(message.get("tool_calls")):
        yield _read_call(as_dict(call), "tool_calls")
    if isinstance(call := message.get("function_call"), dict):
        yield _read_call(call, "function_call")


def read_content(content: Any, place: str) -> Iterator[ShownPart]:
    """Yield the pieces of a content: a text, or a list of typed pieces of any API."""
    if isinstance(content, str):
        yield from (make_part("text", content, place),) if content else ()
        return
    for item in content if isinstance(content, list) else [content] if content else ():
        if isinstance(item, str):
            yield make_part("text", item, place)
        elif isinstance(item, dict):
            yield from read_item(item, place)
        else:
            yield _other(item, place)


def read_item(item: Json, place: str) -> Iterator[ShownPart]:
    """Yield the pieces of a typed piece."""
    kind = as_text(item.get("type"))
    if read := _READERS.get(kind):
        yield from read(item)
    elif any(word in kind for word in _MEDIA) or any(word in item for word in _MEDIA):
        yield make_part("media", shorten(item), kind or place)
    elif isinstance(text := item.get("text"), str):
        yield make_part("text", text, place)
    else:
        yield _other(item, kind or place)


def shorten(value: Any) -> str:
    """Return a value as JSON; "…" for one that has none."""
    try:
        return dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        return "…"


def _other(value: Any, place: str) -> ShownPart:
    return make_part("other", shorten(value), place)


def _read_call(call: Json, place: str) -> ShownPart:
    function = as_dict(call.get("function") or call.get("custom")) or call
    arguments = function.get("arguments", function.get("input"))
    text = arguments if isinstance(arguments, str) else shorten(arguments)
    return make_part("tool_call", text, place, as_text(function.get("name")), as_text(call.get("id")))


def _read_text(item: Json) -> Iterator[ShownPart]:
    yield make_part("text", as_text(item.get("text")), as_text(item.get("type")))


def _read_refusal(item: Json) -> Iterator[ShownPart]:
    yield make_part("refusal", as_text(item.get("refusal")), "refusal")


def _read_thinking(item: Json) -> Iterator[ShownPart]:
    text = as_text(item.get("thinking")) or as_text(item.get("data"))
    yield make_part("thought", text, as_text(item.get("type")))


def _read_tool_use(item: Json) -> Iterator[ShownPart]:
    name, call_id = as_text(item.get("name")), as_text(item.get("id"))
    yield make_part("tool_call", shorten(item.get("input")), "tool_use", name, call_id)


def _read_tool_result(item: Json) -> Iterator[ShownPart]:
    call_id = as_text(item.get("tool_use_id"))
    for part in read_content(item.get("content"), "tool_result"):
        yield {**part, "kind": "tool_result", "id": call_id} if part["kind"] == "text" else part


def _read_function_call(item: Json) -> Iterator[ShownPart]:
    arguments = item.get("arguments", item.get("input"))
    text = arguments if isinstance(arguments, str) else shorten(arguments)
    kind = as_text(item.get("type"))
    yield make_part("tool_call", text, kind, as_text(item.get("name")), as_text(item.get("call_id")))


def _read_function_output(item: Json) -> Iterator[ShownPart]:
    call_id = as_text(item.get("call_id"))
    for part in read_content(item.get("output"), as_text(item.get("type"))):
        yield {**part, "kind": "tool_result", "id": call_id} if part["kind"] == "text" else part


def _read_reasoning(item: Json) -> Iterator[ShownPart]:
    texts = [as_text(as_dict(one).get("text")) for name in ("content", "summary") for one in as_list(item.get(name))]
    yield make_part("thought", "\n\n".join(filter(None, texts)), "reasoning")


def _read_nested(item: Json) -> Iterator[ShownPart]:
    yield from read_content(item.get("content"), "content")


_READERS: Mapping[str, Callable[[Json], Iterator[ShownPart]]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "refusal": _read_refusal,
    "thinking": _read_thinking,
    "redacted_thinking": _read_thinking,
    "reasoning": _read_reasoning,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
    "function_call": _read_function_call,
    "custom_tool_call": _read_function_call,
    "function_call_output": _read_function_output,
    "custom_tool_call_output": _read_function_output,
    "message": _read_nested,
}
