"""Convert Anthropic's replies to OpenAI's format: messages, whole or streamed, and errors.

Text becomes `content`, thinking `reasoning_content`, tool use `tool_calls`. Blocks for which OpenAI has no field
(redacted thinking, Anthropic's own tools) and signatures are skipped. A stream is complete once it has a stop reason.
Source: Anthropic API reference, Messages, Streaming and Errors.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from argoproxy.api import (
    DONE,
    Batch,
    Call,
    Document,
    Event,
    EventDecoder,
    Json,
    ProxyError,
    Reply,
    UpstreamProtocolError,
    check_reply_size,
    encode_json,
    error_in_success,
    get_header,
)

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: The statuses of errors, which have none inside a stream, as documented; but 503 instead of 529 for "overloaded".
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 503,
}
#: Beginnings of messages that get OpenAI's code `context_length_exceeded`, by which agents shorten a conversation.
TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")

_TEXT_FIELDS = {"text": "content", "thinking": "reasoning_content"}


def read(reply: Reply, call: Call) -> Iterator[Batch]:
    """Read a reply in either form. Raises ProxyError if it broke off, is not a message, or is an error."""
    if get_header(reply.headers, "content-type").startswith("text/event-stream"):
        yield from _read_stream(reply.iter_bytes(), call)
    else:
        text = yield from _read_all(reply.iter_bytes())
        yield [Document.of(completion(Document(text).chunk, call))]


def find_error(document: Any) -> Json | None:
    """Return the error of a document in OpenAI's format; None if it has none."""
    error = _dict(_dict(document).get("error"))
    message = error.get("message")
    if not isinstance(message, str):
        return None
    kind = error.get("type") if isinstance(error.get("type"), str) else "upstream_error"
    code = "context_length_exceeded" if message.startswith(TOO_LONG) else None
    return {"message": message, "type": kind, "param": None, "code": code}


def completion(message: Json, call: Call) -> Json:
    """Convert a message to a completion. Raises ProxyError if it is not a message."""
    _raise_if_error(message)
    if not isinstance(message.get("content"), list):
        raise UpstreamProtocolError("The upstream's reply holds no message.")
    blocks = [_dict(block) for block in message["content"]]
    text, reasoning = (_join(blocks, kind) for kind in _TEXT_FIELDS)
    calls = [
        _call(block, encode_json(_dict(block.get("input"))).decode())
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    result: Json = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    result |= {"reasoning_content": reasoning} if reasoning else {}
    result |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": result, "logprobs": None, "finish_reason": _finish(message.get("stop_reason"))}
    usage = _usage(_dict(message.get("usage")))
    return {**_top(message, call, "chat.completion"), "choices": [choice], "usage": usage}


class Stream:
    """Converts the events of a message to chunks; its blocks come one after the other."""

    def __init__(self, call: Call) -> None:
        self.is_over = False
        self._call = call
        self._top = _top({}, call, "chat.completion.chunk")
        self._usage: Json = {}
        self._stop_reason: Any = None
        self._calls = 0
        self._block: Any = None
        self._has_arguments = False

    def feed(self, event: Event) -> Batch:
        """Convert an event to chunks. Raises the error that it holds."""
        document = event.chunk or {}
        match document.get("type"):
            case "message_start":
                return self._begin(_dict(document.get("message")))
            case "content_block_start":
                return self._open(_dict(document.get("content_block")))
            case "content_block_delta":
                return self._continue(_dict(document.get("delta")))
            case "content_block_stop":
                return self._close()
            case "message_delta":
                self._stop_reason = _dict(document.get("delta")).get("stop_reason") or self._stop_reason
                self._count(document)
            case "message_stop":
                return self.finish()
        _raise_if_error(document)
        return []

    def finish(self) -> Batch:
        """Return the last chunks. Raises UpstreamProtocolError if the message is incomplete."""
        if self._stop_reason is None:
            raise _broken_stream()
        self.is_over = True
        last = [self._chunk({}, _finish(self._stop_reason))]
        if self._call.include_usage:
            last.append(Event.of({**self._top, "choices": [], "usage": _usage(self._usage)}))
        return [*last, DONE]

    def _begin(self, message: Json) -> Batch:
        self._top = _top(message, self._call, "chat.completion.chunk")
        self._count(message)
        return [self._chunk({"role": "assistant", "content": ""})]

    def _open(self, block: Json) -> Batch:
        self._block, self._has_arguments = block.get("type"), False
        if self._block != "tool_use":
            return self._add_text(_TEXT_FIELDS.get(str(self._block)), block.get(str(self._block)))
        self._calls += 1
        start = self._chunk({"tool_calls": [{"index": self._calls - 1, **_call(block, "")}]})
        return [start, *(self._add_arguments(encode_json(block["input"]).decode()) if block.get("input") else [])]

    def _continue(self, delta: Json) -> Batch:
        match delta.get("type"):
            case "text_delta":
                return self._add_text("content", delta.get("text"))
            case "thinking_delta":
                return self._add_text("reasoning_content", delta.get("thinking"))
            case "input_json_delta" if self._block == "tool_use":
                return self._add_arguments(delta.get("partial_json"))
        return []

    def _close(self) -> Batch:
        """End a block; a tool call without arguments gets `{}`, where Anthropic sends nothing."""
        lacks_arguments = self._block == "tool_use" and not self._has_arguments
        self._block = None
        return self._add_arguments("{}") if lacks_arguments else []

    def _add_arguments(self, text: Any) -> Batch:
        if not isinstance(text, str) or not text:
            return []
        self._has_arguments = True
        return [self._chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]})]

    def _add_text(self, key: str | None, text: Any) -> Batch:
        return [self._chunk({key: text})] if key and text and isinstance(text, str) else []

    def _count(self, document: Json) -> None:
        """Note token counts: they are totals of the message so far, null means unchanged."""
        self._usage |= {name: count for name, count in _dict(document.get("usage")).items() if count is not None}

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._call.include_usage else {}
        return Event.of({**self._top, "choices": [choice], **usage})


def _read_stream(pieces: Iterator[bytes], call: Call) -> Iterator[Batch]:
    decoder, stream = EventDecoder(), Stream(call)
    for piece in pieces:
        events = decoder.feed(piece)
        if events or not piece:
            yield from _convert(events, stream)
        if stream.is_over:
            return
    try:
        yield from _convert(decoder.finish(), stream)
    except UpstreamProtocolError:
        raise _broken_stream() from None
    if not stream.is_over:
        yield stream.finish()


def _convert(events: Batch, stream: Stream) -> Iterator[Batch]:
    """Yield the chunks of events that arrived together, also of those before an error."""
    chunks: Batch = []
    try:
        for event in events:
            chunks += [] if stream.is_over else stream.feed(event)
    except ProxyError:
        if chunks:
            yield chunks
        raise
    yield chunks


def _broken_stream() -> UpstreamProtocolError:
    return UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")


def _read_all(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Return the whole body; yield an empty batch whenever nothing arrives."""
    body = bytearray()
    for piece in pieces:
        body += piece
        check_reply_size(len(body))
        if not piece:
            yield []
    return bytes(body)


def _raise_if_error(document: Json) -> None:
    """Raise the error in a document with a status of success, if there is one."""
    if document.get("type") == "error" or document.get("error"):
        error = find_error(document) or {"message": document.get("error")}
        raise error_in_success(STATUSES.get(error.get("type", ""), 502), error)


def _top(message: Json, call: Call, kind: str) -> Json:
    message_id, model = message.get("id"), message.get("model")
    return {
        "id": message_id if isinstance(message_id, str) else f"chatcmpl-{call.id}",
        "object": kind,
        "created": call.created,
        "model": model if isinstance(model, str) else call.requested_model,
    }


def _finish(stop_reason: Any) -> str:
    return FINISH_REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def _join(blocks: list[Json], kind: str) -> str:
    texts = (block.get(kind) for block in blocks if block.get("type") == kind)
    return "".join(text for text in texts if isinstance(text, str))


def _call(block: Json, arguments: str) -> Json:
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _usage(usage: Json) -> Json:
    """Return token counts in OpenAI's way: the prompt includes tokens read from and written to the cache."""
    uncached, written_to, read_from, completion = (
        _number(usage.get(name))
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    prompt = uncached + written_to + read_from
    reasoning = _number(_dict(usage.get("output_tokens_details")).get("thinking_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read_from, "cache_write_tokens": written_to},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
