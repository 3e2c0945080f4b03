"""Chats and requests for the tests of the Responses API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from argoproxy.protocol.responses.event_log import encode_events
from argoproxy.protocol.responses.request_conversion import convert_request
from argoproxy.protocol.responses.response_object import ResponseHead
from argoproxy.protocol.responses.response_writer import ResponseWriter
from argoproxy.protocol.stream.runs import RunDecoder
from argoproxy.protocol.stream.sse import Batch, Document, Event
from tests.support.response_events import accumulate, parse_events

Json = dict[str, Any]

HEAD = ResponseHead("r1", 7, "m")
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def chunk(delta: Json | None = None, finish_reason: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason, **more}
    return {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [choice]}


def call(index: int, arguments: str = "", **more: Any) -> Json:
    """Give a delta with a fragment of a call; `id` and `name` begin one."""
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return {"tool_calls": [{"index": index, **more, "function": function}]}


def finish(reason: str = "stop") -> list[Json]:
    return [chunk({}, reason), {"id": "up", "model": "m-1", "choices": [], "usage": USAGE}]


def request(**body: Any) -> Json:
    return {"model": "m", "input": "hi", **body}


def convert(*items: Json, **body: Any) -> list[Json]:
    """Give the messages that the items of a request become."""
    messages: list[Json] = convert_request(request(input=list(items), **body)).chat["messages"]
    return messages


def write(chunks: Iterable[Json], body: Json | None = None) -> list[Json]:
    """Give the events that the chunks of a chat become, each chunk a batch of its own."""
    return write_batches([[Event.of(one)] for one in chunks], body)


def write_batches(batches: Iterable[Batch], body: Json | None = None) -> list[Json]:
    writer = ResponseWriter(convert_request(body or request()), HEAD)
    events = [event for batch in batches for event in writer.feed(batch)]
    return parse_events(encode_events([*events, *writer.finish()]))


def write_pieces(pieces: Iterable[bytes], body: Json | None = None) -> list[Json]:
    decoder = RunDecoder()
    return write_batches([decoder.feed(piece) for piece in pieces], body)


def respond(chunks: Iterable[Json], body: Json | None = None) -> Json:
    """Give the response that the chunks of a chat become; its events are checked."""
    return accumulate(write(chunks, body))


def respond_to_document(document: Json, body: Json | None = None) -> Json:
    return accumulate(write_batches([[Document.of(document)]], body))
