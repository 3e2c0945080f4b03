"""Thoughts that clients send back: some models refuse them (DeepSeek R1), others demand them (DeepSeek V4)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

from argoproxy.protocol.chunks import Json
from argoproxy.protocol.reasoning_fields import FIELDS, speaking
from argoproxy.protocol.spoken import stripped_parts
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.thoughts import Scanner, Tags


def cleaned_history(messages: list[Any], tags: Sequence[TagPair]) -> list[Any]:
    """Give the messages with nothing in the assistant's that it thought: no tagged blocks, reasoning fields, parts of
    type `thinking`. The very same list when there is nothing of that; nothing else is touched."""
    pairs = Tags(tags)
    cleaned = [_cleaned(message, pairs) for message in messages]
    return messages if all(map(is_, cleaned, messages)) else cleaned


def _cleaned(message: Any, tags: Tags) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    bare: Json = {key: value for key, value in message.items() if key not in FIELDS}
    content = bare.get("content")
    if isinstance(content, str):
        bare["content"] = Scanner(tags).feed_last(content).text
    elif isinstance(content, list):
        bare["content"] = _parts(content, tags)
    return message if bare == message else bare


def _parts(content: list[Any], tags: Tags) -> Any:
    """Clean a content in parts: a block may go on from one to the next, a tag may not. "" where none is left, which an
    API takes for less of a mistake than an empty list."""
    scanner = Scanner(tags)
    new = stripped_parts(speaking(content), scanner.feed_last, scanner.feed_last)
    return content if new == content else [part for part in new if not _is_empty(part)] or ""


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and part.get("text") == ""
