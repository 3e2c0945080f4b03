"""Calls of Anthropic, made-up replies, and how the adapter reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE
from argoproxy.upstreams.anthropic.adapter import AnthropicUpstream
from argoproxy.upstreams.base_url import BaseUrl
from tests.support.doubles import FakeReply

Json = dict[str, Any]

UPSTREAM = AnthropicUpstream(BaseUrl.parse("https://up"))
STREAM: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
WHOLE: Headers = (("content-type", "application/json"),)


CHAT = "/v1/chat/completions"


def make_call(path: str = CHAT, **body: Any) -> Call:
    """Make a call whose model is an alias."""
    return Call("id", 7, path, "", (), {"model": "claude", **body}, None, requested_model="alias")


def batches(pieces: list[bytes], headers: Headers = STREAM, **body: Any) -> Iterator[list[Any]]:
    for batch in UPSTREAM.read_completion(FakeReply(pieces, headers), make_call(stream=True, **body)):
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
