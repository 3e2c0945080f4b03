"""Content blocks as the parts and texts of chats (Anthropic API reference, Messages; OpenAI API reference, chat)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from argoproxy.protocol.content import ATTRIBUTION
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list, as_text, dumps

_BETWEEN = "\n\n"
_PDF = "application/pdf"


def system_text(system: Any) -> str:
    """Return the system prompt of a request as one text."""
    texts = [system] if isinstance(system, str) else [as_text(block.get("text")) for block in as_dicts(system)]
    return _BETWEEN.join(text for text in texts if text and not text.startswith(ATTRIBUTION))


def as_blocks(content: Any) -> list[Json]:
    """Return the content of a message as blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else as_dicts(content)


def to_parts(blocks: Iterable[Json]) -> list[Json]:
    """Return blocks of a user as parts of a chat; what a chat has no part for is left out."""
    return [part for block in blocks for part in _to_parts(block)]


def plain_or_parts(parts: list[Json]) -> Any:
    """Return the content of a message: a single text as a string."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts or ""


def result_text(block: Json) -> str:
    """Return the text of a tool's result. An error says so, because chats have no field for that."""
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [_result_part(part) for part in as_dicts(content)]
    text = "\n".join(filter(None, texts))
    return f"Error: {text}" if block.get("is_error") is True and "error" not in text[:40].lower() else text


def media_of_result(block: Json) -> list[Json]:
    """Return the images and documents of a tool's result as parts, after a text that says whose they are; [] if it has
    none. A tool's message can hold texts alone."""
    content = [part for part in as_dicts(block.get("content")) if part.get("type") in ("image", "document")]
    parts = to_parts(content)
    said = {"type": "text", "text": f"Content of the result of tool call {as_text(block.get('tool_use_id'))}:"}
    return [said, *parts] if parts else []


def summarize_results(block: Json) -> str:
    """Return what a tool of Anthropic's servers has found, as a text: titles and addresses."""
    found = (as_text(item.get("title")) + " " + as_text(item.get("url")) for item in as_dicts(block.get("content")))
    lines = [line.strip() for line in found if line.strip()]
    return "\n".join(["Search results:", *lines]) if lines else ""


def arguments_of(block: Json) -> str:
    """Return the input of a tool as the arguments of a call."""
    return dumps(block.get("input") if isinstance(block.get("input"), dict) else {}).decode()


def _to_parts(block: Json) -> list[Json]:
    kind = block.get("type")
    if kind == "text":
        return [_text_part(as_text(block.get("text")))] if block.get("text") else []
    if kind == "image":
        return _image_parts(as_dict(block.get("source")))
    if kind == "document":
        return _document_parts(block)
    if kind == "search_result":
        heading = f"{as_text(block.get('title'))} ({as_text(block.get('source'))})"
        return [_text_part("\n".join([heading, *_texts(block.get("content"))]))]
    return []


def _image_parts(source: Json) -> list[Json]:
    url = _url_of(source)
    return [{"type": "image_url", "image_url": {"url": url}}] if url else []


def _url_of(source: Json) -> str:
    if source.get("type") == "base64":
        return f"data:{as_text(source.get('media_type'))};base64,{as_text(source.get('data'))}"
    return as_text(source.get("url")) if source.get("type") == "url" else ""


def _document_parts(block: Json) -> list[Json]:
    source, title = as_dict(block.get("source")), as_text(block.get("title"))
    if source.get("type") == "base64":
        is_pdf = source.get("media_type", _PDF) == _PDF
        name = title or ("document.pdf" if is_pdf else "document")
        return [{"type": "file", "file": {"filename": name, "file_data": _url_of(source)}}]
    heading = [line for line in (title, as_text(block.get("context"))) if line]
    if source.get("type") == "content" and isinstance(source.get("content"), list):
        # A document holds texts and images only.
        inner = [block for block in as_dicts(source["content"]) if block.get("type") in ("text", "image")]
        return [*map(_text_part, heading), *to_parts(inner)]
    text = as_text(source.get("data")) or as_text(source.get("content"))
    return [_text_part("\n".join([*heading, text]))]


def _result_part(part: Json) -> str:
    kind = part.get("type")
    if kind in ("image", "document"):
        return f"[{kind}: see the next message of the user]"
    parts = _to_parts(part)
    return as_text(parts[0].get("text")) if parts else as_text(part.get("tool_name"))


def _texts(content: Any) -> list[str]:
    return [as_text(item.get("text")) for item in as_list(content) if isinstance(item, dict)]


def _text_part(text: str) -> Json:
    return {"type": "text", "text": text}
