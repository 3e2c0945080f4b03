"""Thoughts that messages and deltas hold outside of tags: in fields, and in content that is a list of parts.

`reasoning_content`: DeepSeek, DashScope, SGLang, llama.cpp, LM Studio, xAI, older vLLM. `reasoning`: vLLM, OpenRouter,
Groq, Ollama, Together. `reasoning_details`: OpenRouter, beside `reasoning` with the same text. Parts of type
`thinking`: Mistral. A server that fills several of them repeats the same thought in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from argoproxy.protocol.json_text import Json, as_dicts, as_text

#: Fields that hold a thought as text.
TEXT_FIELDS = ("reasoning_content", "reasoning")
FIELDS = (*TEXT_FIELDS, "reasoning_details")

#: Every event with a thought outside of tags, or with content in parts, holds one of these.
FIELD_MARKS = (b'"reasoning', b'"type"')

#: The types of reasoning_details that have a text, and its key (OpenRouter, reasoning tokens).
_DETAIL_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}


class FieldReader:
    """Reads the thoughts of one choice. The first field that is not empty is the only one read from then on, because
    servers repeat a thought in several."""

    def __init__(self) -> None:
        self._names: Iterable[str] = _READERS

    def read(self, holder: Json) -> str:
        """Return the thought in a message or delta, "" if there is none."""
        for name in self._names:
            if thought := _READERS[name](holder.get(name)):
                self._names = (name,)
                return thought
        return ""


def remove_thoughts(holder: Json) -> Json:
    """Return a message or delta without thoughts in fields and parts, the same object if there are none."""
    bare = {key: value for key, value in holder.items() if key not in FIELDS}
    return _without_thinking_parts(bare if len(bare) < len(holder) else holder)


def move_thought(holder: Json, name: str, thought: str) -> Json:
    """Return a message or delta whose `thought`, if any, is in the named field and in no other; the same object if it
    is there already. `reasoning_details` stay: they hold signatures, which clients have to send back."""
    present = [key for key in TEXT_FIELDS if isinstance(holder.get(key, ...), str | None)]
    others = [key for key in present if key != name or (holder[key] and not thought)]
    bare = {key: value for key, value in holder.items() if key not in others} if others else holder
    return _without_thinking_parts({**bare, name: thought} if thought and bare.get(name) != thought else bare)


def drop_thinking_parts(parts: list[Any]) -> list[Any]:
    """Return the parts of a content that are not thoughts."""
    return [part for part in parts if not (isinstance(part, dict) and part.get("type") == "thinking")]


def _without_thinking_parts(holder: Json) -> Json:
    """Remove the thoughts from content in parts; if only texts are left, the content becomes one text."""
    content = holder.get("content")
    if not isinstance(content, list):
        return holder
    parts = drop_thinking_parts(content)
    if all(map(_is_text_part, parts)):
        return {**holder, "content": "".join([part["text"] for part in parts])}
    return {**holder, "content": parts} if len(parts) < len(content) else holder


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str)


def _read_details(details: Any) -> str:
    return "".join(as_text(item.get(_DETAIL_TEXTS.get(as_text(item.get("type")), ""))) for item in as_dicts(details))


def _read_parts(content: Any) -> str:
    return "".join(_read_thinking(part.get("thinking")) for part in as_dicts(content) if part.get("type") == "thinking")


def _read_thinking(thinking: Any) -> str:
    return as_text(thinking) or "".join(as_text(part.get("text")) for part in as_dicts(thinking))


_READERS: dict[str, Callable[[Any], str]] = {
    "reasoning_content": as_text,
    "reasoning": as_text,
    "reasoning_details": _read_details,
    "content": _read_parts,
}
