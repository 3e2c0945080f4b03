"""Replies for the scripted upstream to play."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

Step = list[Any]

EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = EVENTS + "Transfer-Encoding: chunked\r\n\r\n"
END = "0\r\n\r\n"
DONE = "data: [DONE]\n\n"


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> Step:
    """Give a reply of known length; underscores in header names stand for dashes."""
    listed = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in listed.items())
    return ["send", f"HTTP/1.1 {status}\r\n{head}\r\n" + body.decode("latin-1")]


def chunked(data: str) -> str:
    """Wrap bytes (latin-1) in a chunk."""
    return f"{len(data):x}\r\n{data}\r\n"


def event(text: str, finish_reason: str | None = None, **more: Any) -> str:
    """Give an event of a chat stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason, **more}
    document = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m1", "choices": [choice]}
    return f"data: {json.dumps(document)}\n\n"


def stream(*events: str) -> list[Step]:
    """Give a whole stream, each event its own chunk and its own write."""
    return [["send", CHUNKED], *(["send", chunked(one)] for one in events), ["send", END]]


def cut(data: str, size: int) -> Iterator[Step]:
    """Send in pieces of a size, with a moment between them."""
    for at in range(0, len(data), size):
        yield ["send", data[at : at + size]]
        yield ["sleep", 0.0005]


def bodies(events: Iterable[str]) -> str:
    """Give the bytes of a chunked body."""
    return "".join(chunked(one) for one in events) + END


def completion(text: str, **more: Any) -> bytes:
    """Give a whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    document = {"id": "up-1", "object": "chat.completion", "created": 1, "model": "m1", "choices": [choice]}
    return json.dumps(document).encode()
