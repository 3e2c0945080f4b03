"""Parts of messages: what a message's `content` may be, and how text is added to it (OpenAI API reference, chat)."""

from __future__ import annotations

from typing import Any

from argoproxy.protocol.chunks import Json


def with_text_for_the_user(messages: list[Any], text: str) -> list[Any]:
    """Append text to the last user message, or add a user message when there is none; a new list."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, dict) and message.get("role") == "user":
            return [*messages[:position], _with_text(message, text), *messages[position + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def _with_text(message: Json, text: str) -> Json:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    return {**message, "content": content + text if isinstance(content, str) else text}
