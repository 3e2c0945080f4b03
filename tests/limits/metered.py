"""Replies of the scripted upstream that tell their usage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.scripts import CHUNKED, DONE, END, Step, chunked, event, reply

#: What the scripted upstream tells for a request that names no script.
ORDINARY_TOKENS = 3, 7


def usage_of(prompt: int, completion: int, **details: Any) -> dict[str, Any]:
    """Return a usage in OpenAI's form."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**counts, **details}


def document(prompt: int, completion: int, **details: Any) -> Step:
    """Give a whole completion with this usage."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    body = {"id": "up-1", "object": "chat.completion", "created": 1, "model": "m1", "choices": [choice]}
    return reply(body=json.dumps({**body, "usage": usage_of(prompt, completion, **details)}).encode())


def held(*last: Step) -> list[Step]:
    """Give a reply that the test lets go."""
    return [["await"], *last]


def usage_event(prompt: int, completion: int, **details: Any) -> str:
    """Give the event that tells a stream's usage."""
    told = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m1", "choices": []}
    return f"data: {json.dumps({**told, 'usage': usage_of(prompt, completion, **details)})}\n\n"


def begin(*texts: str) -> list[Step]:
    """Give the head of a stream and its first texts."""
    return [["send", CHUNKED], *(["send", chunked(event(text))] for text in texts)]


def end(*last: str) -> list[Step]:
    """Give the rest of a stream: its finish reason, these events, and its end."""
    return [["send", "".join(map(chunked, [event("", "stop"), *last, DONE])) + END]]


def streamed(texts: Sequence[str], prompt: int, completion: int) -> list[Step]:
    """Give a whole stream that tells its usage."""
    return [*begin(*texts), *end(usage_event(prompt, completion))]
