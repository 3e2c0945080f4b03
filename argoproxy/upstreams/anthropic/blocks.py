"""Content parts of OpenAI's messages as Anthropic's content blocks, and the cache marks on them.

Blocks that a client sends in Anthropic's own format (`document`, `image` with a source, `search_result`) stay as they
are. Source: Anthropic API reference, Messages, Vision, PDF support and Prompt caching.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text

Blocks = list[Json]

#: Marks that a request may have, the one at its top level included.
MOST_MARKS = 4
#: Blocks in Anthropic's own format that users' messages and tool results can have.
_OWN_BLOCKS = frozenset(("document", "image", "search_result", "tool_reference"))

_DATA_URL = re.compile(r"data:([^;,]+)(?:;[^;,]+)*;base64,(.+)", re.DOTALL | re.IGNORECASE)
_MISSPELLED = {"image/jpg": "image/jpeg"}


def make_blocks(message: Json, position: str) -> Blocks:
    """Return the blocks of a message's content. Anthropic refuses blank text, so that is left out. Raises BadRequest,
    which names the part."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    blocks = [_make_block(part, f"{position}.content[{place}]") for place, part in enumerate(parts)]
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def cache_mark(part: Json) -> Json:
    """Return the cache mark of a part or tool, written in Anthropic's or OpenAI's way, {} if it has none."""
    if isinstance(part.get("cache_control"), dict):
        return {"cache_control": part["cache_control"]}
    return {"cache_control": {"type": "ephemeral"}} if part.get("prompt_cache_breakpoint") else {}


def mark_last(blocks: Blocks, message: Json) -> Blocks:
    """Return blocks with the cache mark of their message on the last one that can have a mark."""
    mark = cache_mark(message)
    if not mark or not blocks or "thinking" in blocks[-1]["type"]:
        return blocks
    return [*blocks[:-1], {**blocks[-1], **mark}]


def limit_marks(request: Json) -> Json:
    """Return a request with no more cache marks than Anthropic accepts: those earliest in the messages go first, then
    those of the system text and the tools."""
    surplus = ("cache_control" in request) + sum(map(_count_marks, request.values())) - MOST_MARKS
    limited = dict(request)
    for name in ("messages", "system", "tools"):
        if surplus > 0 and (marks := _count_marks(request.get(name))):
            limited[name] = _without_marks(request[name], min(surplus, marks))
            surplus -= marks
    return limited


def _count_marks(holders: Any) -> int:
    return sum(("cache_control" in holder) + _count_marks(holder.get("content")) for holder in as_dicts(holders))


def _without_marks(holders: Iterable[Json], surplus: int) -> list[Json]:
    """Return blocks, turns or tools without their first marks, `surplus` of them."""
    kept: list[Json] = []
    for holder in holders:
        inner = _count_marks(holder.get("content"))
        if surplus > 0 and inner:
            holder = {**holder, "content": _without_marks(holder["content"], min(surplus, inner))}
            surplus -= inner
        if surplus > 0 and "cache_control" in holder:
            holder = {key: value for key, value in holder.items() if key != "cache_control"}
            surplus -= 1
        kept.append(holder)
    return kept


def _make_block(part: Any, position: str) -> Json:
    if part is None or isinstance(part, str):
        return {"type": "text", "text": part or ""}
    fields = as_dict(part)
    kind = as_text(fields.get("type")) or ("image_url" if "image_url" in fields else "")
    value = fields.get(kind)
    if kind in ("text", "refusal") and isinstance(value, str):
        return {"type": "text", "text": value, **cache_mark(fields)}
    if kind == "image_url":
        url = value.get("url") if isinstance(value, dict) else value
        return {"type": "image", "source": _source(as_text(url), position), **cache_mark(fields)}
    if kind == "file" and isinstance(value, dict):
        return {"type": "document", **_document(value, position), **cache_mark(fields)}
    if kind in _OWN_BLOCKS:
        return fields
    raise BadRequest("Anthropic takes parts of the types text, image_url and file.", param=position)


def _source(url: str, position: str) -> Json:
    """Return the source of an image or document. Raises BadRequest."""
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    if match := _DATA_URL.fullmatch(url):
        media_type = match[1].lower()
        return {"type": "base64", "media_type": _MISSPELLED.get(media_type, media_type), "data": match[2]}
    raise BadRequest("Anthropic takes http and https URLs, and data URLs in base64.", param=position)


def _document(file: Json, position: str) -> Json:
    """Return the source of a document, and its title if it has one; a plain text is sent as text. Raises BadRequest."""
    title = {"title": file["filename"]} if isinstance(file.get("filename"), str) else {}
    if isinstance(file.get("file_id"), str):
        return {"source": {"type": "file", "file_id": file["file_id"]}, **title}
    source = _source(as_text(file.get("file_data")), position)
    if source.get("media_type") != "text/plain":
        return {"source": source, **title}
    try:
        text = b64decode(source["data"]).decode()
    except ValueError:
        raise BadRequest("A plain text must be UTF-8, in base64.", param=position) from None
    return {"source": {"type": "text", "media_type": "text/plain", "data": text}, **title}
