"""A conversation in OpenAI's words as Anthropic wants it: system text apart, content in blocks, turns that alternate.

Results of tools are a user's blocks, all those of one turn together and before any text. Thoughts of earlier turns are
left out: OpenAI's words have no place for the signature without which Anthropic takes none back. Source: Anthropic
API reference, Messages and tool use.
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
#: What an id of a tool call may not hold at Anthropic; other providers' ids, kept in a conversation, do.
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")


def conversation(messages: Any) -> tuple[Blocks, list[Json]]:
    """Give the system's text and the turns of the others. Raises BadRequest, which names the place."""
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be a list of messages.", param="messages")
    said = [_said(message, f"messages[{place}]") for place, message in enumerate(messages)]
    system = [block for role, blocks in said if role == "system" for block in blocks]
    spoken = ((role, blocks) for role, blocks in said if role != "system" and blocks)
    return system, [_turn(role, [blocks for _, blocks in run]) for role, run in groupby(spoken, itemgetter(0))]


def awaits_thoughts(turns: list[Json]) -> bool:
    """Whether the last turn of the assistant called tools: thinking on a budget wants its thoughts back then."""
    last: Blocks = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), [])
    return any(block["type"] == "tool_use" for block in last)


def cache_mark(part: Json) -> Json:
    """Give the mark up to which a prompt is to be cached, as Anthropic or OpenAI say it."""
    if isinstance(part.get("cache_control"), dict):
        return {"cache_control": part["cache_control"]}
    return {"cache_control": {"type": "ephemeral"}} if part.get("prompt_cache_breakpoint") else {}


def _turn(role: str, runs: list[Blocks]) -> Json:
    blocks = sorted(chain.from_iterable(runs), key=lambda block: block["type"] != "tool_result")
    return {"role": role, "content": blocks}


def _said(message: Any, place: str) -> tuple[str, Blocks]:
    """Give who speaks at Anthropic, and what."""
    role = message.get("role") if isinstance(message, dict) else None
    if role in ("system", "developer"):
        return "system", _blocks(message, place)
    if role == "user":
        return "user", _blocks(message, place)
    if role == "tool":
        return "user", [_result(message, place)]
    if role == "assistant" and not message.get("function_call"):
        calls = enumerate(message.get("tool_calls") or ())
        return "assistant", [
            *_blocks(message, place),
            *(_use(call, f"{place}.tool_calls[{at}]") for at, call in calls),
        ]
    raise BadRequest("Anthropic's roles are system, user, assistant with `tool_calls`, and tool.", param=place)


def _blocks(message: Json, place: str) -> Blocks:
    """Give a message's content; text that is blank is left out, Anthropic refuses it."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    blocks = (_block(part, f"{place}.content[{at}]") for at, part in enumerate(parts))
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _block(part: Any, place: str) -> Json:
    if part is None or isinstance(part, str):
        return {"type": "text", "text": part or ""}
    fields = part if isinstance(part, dict) else {}
    kind = fields.get("type") or ("image_url" if "image_url" in fields else None)
    value = fields.get(kind) if isinstance(kind, str) else None
    if kind in ("text", "refusal") and isinstance(value, str):
        return {"type": "text", "text": value, **cache_mark(fields)}
    if kind == "image_url":
        url = value.get("url") if isinstance(value, dict) else value
        return {"type": "image", "source": _source(url, place), **cache_mark(fields)}
    if kind == "file" and isinstance(value, dict):
        return {"type": "document", "source": _file(value, place), **_title(value), **cache_mark(fields)}
    raise BadRequest("Anthropic takes parts of the types text, image_url and file.", param=place)


def _source(url: Any, place: str) -> Json:
    text = url if isinstance(url, str) else ""
    if text.startswith(("http://", "https://")):
        return {"type": "url", "url": text}
    if found := _DATA_URL.fullmatch(text):
        media_type = found.group(1).lower()
        return {"type": "base64", "media_type": _MISSPELLED.get(media_type, media_type), "data": found.group(2)}
    raise BadRequest("Anthropic takes http and https URLs, and data URLs in base64.", param=place)


def _file(file: Json, place: str) -> Json:
    if isinstance(file.get("file_id"), str):
        return {"type": "file", "file_id": file["file_id"]}
    return _source(file.get("file_data"), place)


def _title(file: Json) -> Json:
    return {"title": file["filename"]} if isinstance(file.get("filename"), str) else {}


def _result(message: Json, place: str) -> Json:
    blocks = _blocks(message, place)
    result = {"type": "tool_result", "tool_use_id": _id(message.get("tool_call_id"), f"{place}.tool_call_id")}
    return {**result, "content": blocks} if blocks else result


def _use(call: Any, place: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("Anthropic takes calls of the type `function` with a name.", param=place)
    return {
        "type": "tool_use",
        "id": _id(call.get("id"), f"{place}.id"),
        "name": function["name"],
        "input": _arguments(function.get("arguments")),
    }


def _id(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest("Anthropic wants an id for each call of a tool and for its result.", param=place)
    return _NOT_IN_AN_ID.sub("_", value)


def _arguments(text: Any) -> Json:
    """Give arguments as the object they are; what a model wrote that is none is kept under one key."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        value = loads_strict(text.encode("utf-8", "replace")) if isinstance(text, str) else text
    except JsonError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
