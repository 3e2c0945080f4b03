"""Convert Ollama's replies to chunks of OpenAI's.

A streamed reply is one JSON object a line (application/x-ndjson), the last one with `done`; a whole reply is one such
object. So both are read the same way, and the proxy makes a document of chunks where the client wants one. An error
within a stream is a line `{"error": "…"}`. Source: Ollama API reference, https://docs.ollama.com/api (chat, errors).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from argoproxy.api import (
    DONE,
    Batch,
    Call,
    Event,
    Json,
    JsonError,
    ProxyError,
    UpstreamProtocolError,
    check_reply_size,
    dumps,
    error_in_success,
    loads,
)

#: The status of an error in a stream, which has none of its own.
STREAM_FAILED = 502


def read_replies(pieces: Iterable[bytes], call: Call) -> Iterator[Batch]:
    """Yield the chunks of each piece; an empty batch for an empty piece, which says that nothing arrived for a moment.
    Raises ProxyError for an error, and for what is not a reply of Ollama."""
    lines, chat = LineDecoder(), ChatReader(call)
    for piece in pieces:
        yield from _convert(lines.feed(piece), chat)
    yield from _convert(lines.finish(), chat)


def _convert(lines: Sequence[bytes], chat: ChatReader) -> Iterator[Batch]:
    """Yield the chunks of lines that arrived together, also those before an error."""
    batch: Batch = []
    try:
        for line in lines:
            batch += chat.feed(line)
    except ProxyError:
        yield batch
        raise
    yield batch


class LineDecoder:
    """Cuts a stream of bytes into lines, in time that is linear however the bytes are split into pieces."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that are complete, without blank ones. Raises UpstreamProtocolError if one is too long."""
        *complete, rest = piece.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._begun, complete[0]])
            self._begun, self._size = [], 0
        if rest:
            self._begun.append(rest)
            self._size += len(rest)
            check_reply_size(self._size)
        return [line for line in complete if line.strip()]

    def finish(self) -> list[bytes]:
        """Return the last line, if it has no end: a whole reply has none."""
        return self.feed(b"\n")


class ChatReader:
    """Converts the objects of one reply to chunks."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._calls = 0
        self._delta: Json = {"role": "assistant"}
        self._is_done = False

    def feed(self, line: bytes) -> Batch:
        """Return the chunks of a line. Raises ProxyError."""
        if self._is_done:
            return []
        try:
            reply = loads(line)
        except JsonError:
            raise UpstreamProtocolError("The upstream sent a line that is not JSON.") from None
        if not isinstance(reply, dict):
            raise UpstreamProtocolError("The upstream sent a line that is not an object.")
        if "error" in reply:
            raise error_in_success(STREAM_FAILED, {"message": str(reply["error"])})
        delta = self._read_message(_dict(reply.get("message")))
        batch = [self._chunk({**self._delta, **delta}, None)] if delta else []
        if delta:
            self._delta = {}
        return [*batch, *self._finish(reply)] if reply.get("done") is True else batch

    def _read_message(self, message: Json) -> Json:
        """Return what a message adds, {} for nothing."""
        delta: Json = {}
        for key, name in (("content", "content"), ("thinking", "reasoning_content")):
            if (text := message.get(key)) and isinstance(text, str):
                delta[name] = text
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            delta["tool_calls"] = [self._read_call(_dict(call)) for call in calls]
        return delta

    def _read_call(self, call: Json) -> Json:
        """Convert a call, which is always whole; older servers give it no id."""
        index, function = self._calls, _dict(call.get("function"))
        self._calls += 1
        arguments = dumps(_dict(function.get("arguments"))).decode()
        return {
            "index": index,
            "id": call.get("id") or f"call_{self._call.id}_{index}",
            "type": "function",
            "function": {"name": function.get("name"), "arguments": arguments},
        }

    def _finish(self, reply: Json) -> Batch:
        """Return the last chunks. A client that wants a document always gets the usage."""
        self._is_done = True
        reason = "length" if reply.get("done_reason") == "length" else "tool_calls" if self._calls else "stop"
        last = [self._chunk(self._delta, reason)]
        if self._call.include_usage or not self._call.stream:
            prompt, completion = (_number(reply.get(name)) for name in ("prompt_eval_count", "eval_count"))
            total = prompt + completion
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
            last.append(Event.of({**self._head(), "choices": [], "usage": usage}))
        return [*last, DONE]

    def _chunk(self, delta: Json, finish_reason: str | None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return Event.of({**self._head(), "choices": [choice]})

    def _head(self) -> Json:
        call = self._call
        return {
            "id": f"chatcmpl-{call.id}",
            "object": "chat.completion.chunk",
            "created": call.created,
            "model": call.requested_model,
        }


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
