"""The grammar of a stream of Messages, and the message that an SDK makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from argoproxy.protocol.messages.answers.events import MessageEvents, MessageHead
from argoproxy.protocol.messages.answers.message_writer import MessageBuilder, MessageWriter, build_message
from argoproxy.protocol.stream.sse import DONE, Batch, Event

Json = dict[str, Any]
DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "redacted_thinking": set[str](),
}
HEAD = MessageHead("r1", "asked", 7)


def read_frames(stream: bytes) -> list[Json]:
    """Return the events of a stream; each has the name that stands in its data."""
    events = []
    for frame in stream.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def check_grammar(events: Sequence[Json]) -> None:
    """Check that a stream is whole: one block open at a time, dense numbers, deltas of the block's own kind, usage at
    both ends, one end."""
    events = [event for event in events if event["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert {"input_tokens", "output_tokens"} <= events[0]["message"]["usage"].keys()
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    assert {"input_tokens", "output_tokens"} <= events[-2]["usage"].keys()
    count, kind, deltas = 0, "", list[str]()
    for event in events[1:-2]:
        assert event["index"] == count
        if event["type"] == "content_block_start":
            assert kind == ""
            kind, deltas = event["content_block"]["type"], []
        elif event["type"] == "content_block_delta":
            deltas.append(event["delta"]["type"])
            assert deltas[-1] in DELTAS[kind]
        else:
            assert event["type"] == "content_block_stop"
            assert kind != ""
            assert kind != "thinking" or deltas.count("signature_delta") == 1 == (deltas[-1] == "signature_delta")
            assert kind != "tool_use" or deltas
            count, kind = count + 1, ""
    assert kind == ""


def chunk_of(delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
    """Return a chunk of a chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **more}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def call_of(index: int, arguments: str = "", name: str = "", call_id: str = "") -> Json:
    """Return a delta with a fragment of a tool call."""
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"tool_calls": [{"index": index, "function": function, **({"id": call_id} if call_id else {})}]}


def usage_of(**counts: Any) -> Json:
    """Return a chunk with usage alone."""
    return {"id": "c", "model": "m", "choices": [], "usage": counts}


def message_of(chunks: Sequence[Json], head: MessageHead = HEAD) -> Json:
    """Return the message that chunks make, checked: whole and streamed give the same one, in one batch or in many, and
    the stream follows the grammar."""
    batch: Batch = [*map(Event.of, chunks), DONE]
    whole = build_message([batch], head)
    for batches in ([batch], [[event] for event in batch]):
        writer = MessageWriter(head)
        events = read_frames(b"".join(map(writer.feed, batches)) + writer.finish())
        check_grammar(events)
        assert joined(events) == whole
    return whole


def joined(events: Sequence[Json]) -> Json:
    """Return the message that events make."""
    builder = MessageBuilder()
    for event in events:
        builder.add(event)
    return builder.message


def events_of(chunks: Sequence[Json]) -> list[Json]:
    """Return the events of chunks without their end."""
    events = MessageEvents(HEAD)
    return [one for chunk in chunks for one in events.add(chunk)]
