"""The same stream of words in three APIs: chats, Anthropic's Messages, OpenAI's Responses; as providers write it.

Each event is a chunk of the transfer coding of its own. Source of the frames around the words: the API references.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WORD = "hello "
USAGE = {"input_tokens": 9, "output_tokens": 200}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "flood", "content": []}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1790000000, "model": "flood", "error": None}
PART = {"type": "output_text", "annotations": [], "logprobs": []}
PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chat_chunk(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish_reason}
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "bench"}
    data = json.dumps({**top, "choices": [choice]}, separators=(",", ":")).encode()
    return http_chunk(b"data: " + data + b"\n\n")


def named_event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return http_chunk(f"event: {kind}\ndata: {data}\n\n".encode())


def messages_stream(words: int) -> Sequence[bytes]:
    word = {"type": "text_delta", "text": WORD}
    return [
        named_event("message_start", message={**MESSAGE, "stop_reason": None, "usage": USAGE}),
        named_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *[named_event("content_block_delta", index=0, delta=word)] * words,
        named_event("content_block_stop", index=0),
        named_event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=USAGE),
        named_event("message_stop"),
    ]


def responses_stream(words: int) -> Sequence[bytes]:
    text = WORD * words
    part = {**PART, "text": text}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    begun = {**RESPONSE, "status": "in_progress", "output": []}
    usage = {**USAGE, "total_tokens": 209}
    ended = {**RESPONSE, "status": "completed", "output": [item], "usage": usage}
    events: list[tuple[str, Mapping[str, Any]]] = [
        ("created", {"response": begun}),
        ("in_progress", {"response": begun}),
        ("output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        ("content_part.added", {**PLACE, "part": {**PART, "text": ""}}),
        *[("output_text.delta", {**PLACE, "delta": WORD, "logprobs": []})] * words,
        ("output_text.done", {**PLACE, "text": text, "logprobs": []}),
        ("content_part.done", {**PLACE, "part": part}),
        ("output_item.done", {"output_index": 0, "item": item}),
        ("completed", {"response": ended}),
    ]
    return [
        named_event(f"response.{kind}", sequence_number=number, **fields)
        for number, (kind, fields) in enumerate(events)
    ]
