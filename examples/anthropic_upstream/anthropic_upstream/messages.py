"""Convert a conversation from OpenAI's format to Anthropic's: separate system text, content blocks, alternating turns.

Tool results become blocks of the user, all those of one turn together and before any text. Reasoning of earlier turns
is left out: OpenAI's format has no field for the signature, without which Anthropic rejects it. Source: Anthropic API
reference, Messages and tool use.
"""

from __future__ import annotations

import re
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from argoproxy.api import BadRequest, Json, JsonError, loads_strict

Blocks = list[Json]

_DATA_URL = re.compile(r"data:([^;,]+)(?:;[^;,]+)*;base64,(.+)", re.DOTALL | re.IGNORECASE)
_MISSPELLED = {"image/jpg": "image/jpeg"}
#: Characters that Anthropic rejects in the id of a tool call, but other providers use.
_INVALID_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


def conversation(messages: Any) -> tuple[Blocks, list[Json]]:
    """Return the system text and the turns. Raises BadRequest, which names the position."""
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be a list of messages.", param="messages")
    parsed = [_read_message(message, f"messages[{position}]") for position, message in enumerate(messages)]
    system = [block for role, blocks in parsed if role == "system" for block in blocks]
    others = ((role, blocks) for role, blocks in parsed if role != "system" and blocks)
    return system, [_turn(role, [blocks for _, blocks in run]) for role, run in groupby(others, itemgetter(0))]


def needs_reasoning(turns: list[Json]) -> bool:
    """Tell whether the assistant's last turn called tools: with a thinking budget, Anthropic then requires its
    reasoning."""
    last: Blocks = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), [])
    return any(block["type"] == "tool_use" for block in last)


def cache_mark(part: Json) -> Json:
    """Return the cache breakpoint of a part, written in Anthropic's or OpenAI's way."""
    if isinstance(part.get("cache_control"), dict):
        return {"cache_control": part["cache_control"]}
    return {"cache_control": {"type": "ephemeral"}} if part.get("prompt_cache_breakpoint") else {}


def _turn(role: str, runs: list[Blocks]) -> Json:
    blocks = sorted(chain.from_iterable(runs), key=lambda block: block["type"] != "tool_result")
    return {"role": role, "content": blocks}


def _read_message(message: Any, position: str) -> tuple[str, Blocks]:
    """Return the role and the blocks of a message."""
    role = message.get("role") if isinstance(message, dict) else None
    if role in ("system", "developer"):
        return "system", _blocks(message, position)
    if role == "user":
        return "user", _blocks(message, position)
    if role == "tool":
        return "user", [_result(message, position)]
    if role == "assistant" and not message.get("function_call"):
        calls = enumerate(message.get("tool_calls") or ())
        return "assistant", [
            *_blocks(message, position),
            *(_use(call, f"{position}.tool_calls[{at}]") for at, call in calls),
        ]
    raise BadRequest("Anthropic's roles are system, user, assistant with `tool_calls`, and tool.", param=position)


def _blocks(message: Json, position: str) -> Blocks:
    """Return the blocks of a message; Anthropic rejects blank text, so that is left out."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    blocks = (_block(part, f"{position}.content[{at}]") for at, part in enumerate(parts))
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _block(part: Any, position: str) -> Json:
    if part is None or isinstance(part, str):
        return {"type": "text", "text": part or ""}
    fields = part if isinstance(part, dict) else {}
    kind = fields.get("type") or ("image_url" if "image_url" in fields else None)
    value = fields.get(kind) if isinstance(kind, str) else None
    if kind in ("text", "refusal") and isinstance(value, str):
        return {"type": "text", "text": value, **cache_mark(fields)}
    if kind == "image_url":
        url = value.get("url") if isinstance(value, dict) else value
        return {"type": "image", "source": _source(url, position), **cache_mark(fields)}
    if kind == "file" and isinstance(value, dict):
        return {"type": "document", "source": _file(value, position), **_title(value), **cache_mark(fields)}
    raise BadRequest("Anthropic takes parts of the types text, image_url and file.", param=position)


def _source(url: Any, position: str) -> Json:
    text = url if isinstance(url, str) else ""
    if text.startswith(("http://", "https://")):
        return {"type": "url", "url": text}
    if match := _DATA_URL.fullmatch(text):
        media_type = match.group(1).lower()
        return {"type": "base64", "media_type": _MISSPELLED.get(media_type, media_type), "data": match.group(2)}
    raise BadRequest("Anthropic takes http and https URLs, and data URLs in base64.", param=position)


def _file(file: Json, position: str) -> Json:
    if isinstance(file.get("file_id"), str):
        return {"type": "file", "file_id": file["file_id"]}
    return _source(file.get("file_data"), position)


def _title(file: Json) -> Json:
    return {"title": file["filename"]} if isinstance(file.get("filename"), str) else {}


def _result(message: Json, position: str) -> Json:
    blocks = _blocks(message, position)
    result = {"type": "tool_result", "tool_use_id": _id(message.get("tool_call_id"), f"{position}.tool_call_id")}
    return {**result, "content": blocks} if blocks else result


def _use(call: Any, position: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("Anthropic takes calls of the type `function` with a name.", param=position)
    return {
        "type": "tool_use",
        "id": _id(call.get("id"), f"{position}.id"),
        "name": function["name"],
        "input": _arguments(function.get("arguments")),
    }


def _id(value: Any, position: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest("Anthropic wants an id for each call of a tool and for its result.", param=position)
    return _INVALID_IN_ID.sub("_", value)


def _arguments(text: Any) -> Json:
    """Return the arguments as an object; anything else that a model wrote is kept under the key `arguments`."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        value = loads_strict(text.encode("utf-8", "replace")) if isinstance(text, str) else text
    except JsonError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
