"""What a small model server answers on each of its paths: a stream in three parts, or one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class SurfaceAnswer:
    """The events before any content, those with content, those that end it, an error event; and the same as a
    document."""

    opening: Sequence[str]
    content: Sequence[str]
    closing: Sequence[str]
    error: str
    document: Json


def words_of(name: str) -> tuple[str, str, str]:
    """Return the pieces of the text by which a server says who it is."""
    return name, " says", " hello"


def answer_of(path: str, name: str, model: str, error: Json) -> SurfaceAnswer | None:
    """Return what the server of this name answers on a path; None for a path that it does not serve."""
    kinds = {
        "/chat/completions": _chat,
        "/completions": _completion,
        "/messages": _message,
        "/responses": _response,
    }
    for ending, kind in kinds.items():
        if path.endswith(ending):
            return kind(words_of(name), model, error)
    return None


def _data(document: Json) -> str:
    return f"data: {json.dumps(document)}\n\n"


def _named(document: Json) -> str:
    return f"event: {document['type']}\n{_data(document)}"


def _chat(words: Sequence[str], model: str, error: Json) -> SurfaceAnswer:
    top = {"id": "up-1", "created": 1, "model": model}

    def chunk(delta: Json, finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _data({**top, "object": "chat.completion.chunk", "choices": [choice]})

    message = {"role": "assistant", "content": "".join(words)}
    whole = {"index": 0, "message": message, "finish_reason": "stop"}
    return SurfaceAnswer(
        [": hello\n\n", chunk({"role": "assistant", "content": ""})],
        [chunk({"content": word}) for word in words],
        [chunk({}, "stop"), DONE],
        _data({"error": error}),
        {**top, "object": "chat.completion", "choices": [whole], "usage": USAGE},
    )


def _completion(words: Sequence[str], model: str, error: Json) -> SurfaceAnswer:
    top = {"id": "up-1", "object": "text_completion", "created": 1, "model": model}

    def choices(text: str, finish_reason: str | None = None) -> Json:
        return {**top, "choices": [{"index": 0, "text": text, "finish_reason": finish_reason}]}

    return SurfaceAnswer(
        [": hello\n\n", _data(choices(""))],
        [_data(choices(word)) for word in words],
        [_data(choices("", "stop")), DONE],
        _data({"error": error}),
        {**choices("".join(words), "stop"), "usage": USAGE},
    )


def _message(words: Sequence[str], model: str, error: Json) -> SurfaceAnswer:
    top = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    usage = {"input_tokens": 3, "output_tokens": 4}
    begun: Json = {**top, "content": [], "stop_reason": None, "usage": usage}
    text = {"type": "text", "text": ""}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    deltas = [{"type": "text_delta", "text": word} for word in words]
    return SurfaceAnswer(
        [
            _named({"type": "message_start", "message": begun}),
            _named({"type": "content_block_start", "index": 0, "content_block": text}),
            _named({"type": "ping"}),
        ],
        [_named({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas],
        [
            _named({"type": "content_block_stop", "index": 0}),
            _named({"type": "message_delta", "delta": ended, "usage": usage}),
            _named({"type": "message_stop"}),
        ],
        _named({"type": "error", "error": error}),
        {**begun, "content": [{**text, "text": "".join(words)}], "stop_reason": "end_turn"},
    )


def _response(words: Sequence[str], model: str, error: Json) -> SurfaceAnswer:
    top = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "error": None}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "".join(words)}
    item = {"id": "msg_1", "type": "message", "role": "assistant"}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    done = {**item, "status": "completed", "content": [part]}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, **details}
    begun = {**top, "status": "in_progress", "output": []}
    ended = {**top, "status": "completed", "output": [done], "usage": usage}
    added = {**item, "status": "in_progress", "content": []}
    opening: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
    ]
    delta: Json = {"type": "response.output_text.delta", **place, "logprobs": []}
    content: list[Json] = [{**delta, "delta": word} for word in words]
    closing: list[Json] = [
        {"type": "response.output_text.done", **place, "logprobs": [], "text": part["text"]},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": ended},
    ]
    numbered = [
        _named({**event, "sequence_number": number}) for number, event in enumerate(opening + content + closing)
    ]
    first, last = len(opening), len(opening) + len(content)
    failure = {"type": "error", "code": error.get("code"), "message": error.get("message"), "sequence_number": 0}
    return SurfaceAnswer(numbered[:first], numbered[first:last], numbered[last:], _named(failure), ended)
