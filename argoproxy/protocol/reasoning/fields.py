"""Where servers tell thoughts besides in tags: fields of a message or delta, parts of a content that is a list.

`reasoning_content`: DeepSeek, DashScope, SGLang, llama.cpp, LM Studio, xAI, older vLLM. `reasoning`: vLLM, OpenRouter,
Groq, Ollama, Together. `reasoning_details`: OpenRouter, beside `reasoning` with the same text. Parts of type
`thinking`: Mistral. Who sends several of them says the same in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from argoproxy.protocol.json_text import Json, as_dicts, as_text

#: Fields that hold a thought as text.
TEXT_FIELDS = ("reasoning_content", "reasoning")
FIELDS = (*TEXT_FIELDS, "reasoning_details")

#: One of these stands in every event that tells a thought besides in tags, or content in parts.
FIELD_MARKS = (b'"reasoning', b'"type"')

#: Kinds of reasoning_details with a text, and where it stands (OpenRouter, reasoning tokens).
_TOLD = {"reasoning.text": "text", "reasoning.summary": "summary"}


class Source:
    """Where one choice tells its thoughts besides in tags: the first place that says something is the only one that is
    listened to."""

    def __init__(self) -> None:
        self._places: Iterable[str] = _READERS

    def thought_in(self, holder: Json) -> str:
        """Give the thought that a message or delta tells; "" for none."""
        for name in self._places:
            if thought := _READERS[name](holder.get(name)):
                self._places = (name,)
                return thought
        return ""


def without_fields(holder: Json) -> Json:
    """Give a message or delta without the thoughts told besides in tags: the very same one when there are none."""
    bare = {key: value for key, value in holder.items() if key not in FIELDS}
    return _with_content(bare if len(bare) < len(holder) else holder)


def in_field(holder: Json, name: str, thought: str) -> Json:
    """Give a message or delta that tells this thought, "" for none, in the named field and in no other: the very same
    one when it does. `reasoning_details` stay: they hold signatures, which clients have to send back."""
    told = [key for key in TEXT_FIELDS if isinstance(holder.get(key, ...), str | None)]
    others = [key for key in told if key != name or (holder[key] and not thought)]
    bare = {key: value for key, value in holder.items() if key not in others} if others else holder
    return _with_content({**bare, name: thought} if thought and bare.get(name) != thought else bare)


def speaking(parts: list[Any]) -> list[Any]:
    """Give the parts of a content that are no thoughts."""
    return [part for part in parts if not (isinstance(part, dict) and part.get("type") == "thinking")]


def _with_content(holder: Json) -> Json:
    """Take the thoughts out of a content that is a list; where only text is left, the content is that text."""
    content = holder.get("content")
    if not isinstance(content, list):
        return holder
    parts = speaking(content)
    if all(map(_is_text, parts)):
        return {**holder, "content": "".join([part["text"] for part in parts])}
    return {**holder, "content": parts} if len(parts) < len(content) else holder


def _is_text(part: Any) -> bool:
    """Tell whether a part says nothing but a text."""
    return isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str)


def _details(details: Any) -> str:
    return "".join(as_text(item.get(_TOLD.get(as_text(item.get("type")), ""))) for item in as_dicts(details))


def _parts(content: Any) -> str:
    return "".join(_thought(part.get("thinking")) for part in as_dicts(content) if part.get("type") == "thinking")


def _thought(thinking: Any) -> str:
    return as_text(thinking) or "".join(as_text(part.get("text")) for part in as_dicts(thinking))


_READERS: dict[str, Callable[[Any], str]] = {
    "reasoning_content": as_text,
    "reasoning": as_text,
    "reasoning_details": _details,
    "content": _parts,
}
