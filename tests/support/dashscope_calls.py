"""Calls and replies for the tests."""

from __future__ import annotations

from typing import Any

from argoproxy.protocol.json_text import dumps
from argoproxy.protocol.routing.call import Call

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
CLIENT = (
    ("Authorization", "Bearer theirs"),
    ("X-API-Key", "k"),
    ("Cookie", "c"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "text/x"),
    ("X-DashScope-Async", "enable"),
    ("X-DashScope-SSE", "disable"),
    ("X-DashScope-WorkSpace", "w"),
    ("X-Request-Id", "r"),
)

Json = dict[str, Any]


def call(path: str = CHAT, **body: Any) -> Call:
    """Make a call of a client whose form of answer is the one the upstream is asked in."""
    body = {"model": "qwen-plus", **body}
    return Call("id1", 7, path, "q=1", CLIENT, body, None, requested_model=str(body["model"]))


def frame(document: Json, name: str = "result", status: int = 200) -> bytes:
    """Write an event as DashScope does."""
    return b"id:1\nevent:%b\n:HTTP_STATUS/%d\ndata:%b\n\n" % (name.encode(), status, dumps(document))


def said(content: Any, ending: str | None = "null", index: int | None = None, **message: Any) -> Json:
    """Give what an event says of one choice."""
    named = {} if index is None else {"index": index}
    spoken = {**({} if content is None else {"content": content}), "role": "assistant", **message}
    choice = {"message": spoken, "finish_reason": ending, **named}
    return {"output": {"choices": [choice]}, "usage": {}, "request_id": "r1"}
