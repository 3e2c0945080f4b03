"""Replies of Anthropic, made up, and how the upstream reads them: shared by the tests of replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anthropic_upstream import Anthropic

from argoproxy.api import DONE, Call, Headers

Json = dict[str, Any]

UPSTREAM = Anthropic(base_url="https://up")
STREAM: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
WHOLE: Headers = (("content-type", "application/json"),)


class FakeReply:
    """A complete reply; an empty piece means that nothing arrived for a moment."""

    status = 200

    def __init__(self, pieces: list[bytes], headers: Headers) -> None:
        self.headers = headers
        self._pieces = pieces

    def iter_bytes(self) -> Iterator[bytes]:
        yield from self._pieces

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return b"".join(self._pieces)


def batches(pieces: list[bytes], headers: Headers = STREAM, **body: Any) -> Iterator[list[Any]]:
    call = Call("id", 7, "/v1/chat/completions", "", (), {"stream": True, **body}, None, requested_model="alias")
    for batch in UPSTREAM.read_completion(FakeReply(pieces, headers), call):
        yield [event if event is DONE else event.chunk for event in batch]


def read_stream(*pieces: bytes, **body: Any) -> list[Any]:
    return [event for batch in batches(list(pieces), **body) for event in batch]


def whole(message: Any) -> Any:
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    ((document,),) = batches([text], WHOLE)
    return document


def frame(kind: str, padding: str = "", **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}{padding}\n\n".encode()


def block(index: int, begun: Json, *deltas: Json) -> bytes:
    told = [frame("content_block_start", index=index, content_block=begun)]
    told += [frame("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join([*told, frame("content_block_stop", index=index)])


USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 100, "output_tokens": 1}
MESSAGE = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "usage": USAGE}
START = frame("message_start", message={**MESSAGE, "stop_reason": None})
END = frame("message_stop", padding="   ")


def delta(stop_reason: str | None, **usage: Any) -> bytes:
    return frame("message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, usage=usage)


TOP = {"id": "msg_01", "object": "chat.completion.chunk", "created": 7, "model": "claude-x"}
