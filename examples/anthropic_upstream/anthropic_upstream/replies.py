"""What comes back: a message, whole or told event by event, and errors, as OpenAI's clients know them.

Text becomes `content`, thoughts `reasoning_content`, uses of tools `tool_calls`; blocks that OpenAI has no words for
(redacted thoughts, what Anthropic's own tools did) and signatures are passed over. A stream is whole once it has said
why it stopped. Source: Anthropic API reference, Messages, Streaming and Errors.
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
#: Errors inside a stream have no status; as the documentation has them, with 503 for the 529 of "overloaded".
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
#: How messages begin by which agents shall know, from OpenAI's code, that their conversation must be shortened.
TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")

_SPOKEN = {"text": "content", "thinking": "reasoning_content"}


def read(reply: Reply, call: Call) -> Iterator[Batch]:
    """Read a reply in the form it came. Raises ProxyError: it broke off, is no message, or tells of an error."""
    if get_header(reply.headers, "content-type").startswith("text/event-stream"):
        yield from _streamed(reply.iter_bytes(), call)
    else:
        text = yield from _taken(reply.iter_bytes())
        yield [Document.of(completion(Document(text).chunk, call))]


def told_error(document: Any) -> Json | None:
    """Give the error of a document in OpenAI's words; None when it tells of none."""
    error = _dict(_dict(document).get("error"))
    message = error.get("message")
    if not isinstance(message, str):
        return None
    kind = error.get("type") if isinstance(error.get("type"), str) else "upstream_error"
    code = "context_length_exceeded" if message.startswith(TOO_LONG) else None
    return {"message": message, "type": kind, "param": None, "code": code}


def completion(message: Json, call: Call) -> Json:
    """Give the completion a message is. Raises ProxyError when it is none."""
    _raise_error(message)
    if not isinstance(message.get("content"), list):
        raise UpstreamProtocolError("The upstream's reply holds no message.")
    blocks = [_dict(block) for block in message["content"]]
    text, thoughts = (_joined(blocks, kind) for kind in _SPOKEN)
    calls = [
        _call(block, encode_json(_dict(block.get("input"))).decode())
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    spoken: Json = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    spoken |= {"reasoning_content": thoughts} if thoughts else {}
    spoken |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": spoken, "logprobs": None, "finish_reason": _finish(message.get("stop_reason"))}
    usage = _usage(_dict(message.get("usage")))
    return {**_top(message, call, "chat.completion"), "choices": [choice], "usage": usage}


class Stream:
    """Turns the events of a message into chunks; its blocks come one after the other."""

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
        """Take an event, give the chunks it makes. Raises the error it tells of."""
        told = event.chunk or {}
        match told.get("type"):
            case "message_start":
                return self._begin(_dict(told.get("message")))
            case "content_block_start":
                return self._open(_dict(told.get("content_block")))
            case "content_block_delta":
                return self._go_on(_dict(told.get("delta")))
            case "content_block_stop":
                return self._close()
            case "message_delta":
                self._stop_reason = _dict(told.get("delta")).get("stop_reason") or self._stop_reason
                self._count(told)
            case "message_stop":
                return self.finish()
        _raise_error(told)
        return []

    def finish(self) -> Batch:
        """Give the end. Raises UpstreamProtocolError when the message is not whole."""
        if self._stop_reason is None:
            raise _broke_off()
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
            return self._say(_SPOKEN.get(str(self._block)), block.get(str(self._block)))
        self._calls += 1
        begun = self._chunk({"tool_calls": [{"index": self._calls - 1, **_call(block, "")}]})
        return [begun, *(self._argue(encode_json(block["input"]).decode()) if block.get("input") else [])]

    def _go_on(self, delta: Json) -> Batch:
        match delta.get("type"):
            case "text_delta":
                return self._say("content", delta.get("text"))
            case "thinking_delta":
                return self._say("reasoning_content", delta.get("thinking"))
            case "input_json_delta" if self._block == "tool_use":
                return self._argue(delta.get("partial_json"))
        return []

    def _close(self) -> Batch:
        """Say that a tool has no arguments in JSON, where Anthropic said nothing."""
        lacks = self._block == "tool_use" and not self._has_arguments
        self._block = None
        return self._argue("{}") if lacks else []

    def _argue(self, text: Any) -> Batch:
        if not isinstance(text, str) or not text:
            return []
        self._has_arguments = True
        return [self._chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]})]

    def _say(self, key: str | None, text: Any) -> Batch:
        return [self._chunk({key: text})] if key and text and isinstance(text, str) else []

    def _count(self, told: Json) -> None:
        """Take note of tokens: counts are of the whole message so far, null says nothing."""
        self._usage |= {name: count for name, count in _dict(told.get("usage")).items() if count is not None}

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._call.include_usage else {}
        return Event.of({**self._top, "choices": [choice], **usage})


def _streamed(pieces: Iterator[bytes], call: Call) -> Iterator[Batch]:
    decoder, stream = EventDecoder(), Stream(call)
    for piece in pieces:
        events = decoder.feed(piece)
        if events or not piece:
            yield from _translated(events, stream)
        if stream.is_over:
            return
    try:
        yield from _translated(decoder.finish(), stream)
    except UpstreamProtocolError:
        raise _broke_off() from None
    if not stream.is_over:
        yield stream.finish()


def _translated(events: Batch, stream: Stream) -> Iterator[Batch]:
    """Give the chunks of events that arrived together, also of those before one that tells of an error."""
    chunks: Batch = []
    try:
        for event in events:
            chunks += [] if stream.is_over else stream.feed(event)
    except ProxyError:
        if chunks:
            yield chunks
        raise
    yield chunks


def _broke_off() -> UpstreamProtocolError:
    return UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")


def _taken(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Take all of a body, passing on silence."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        check_reply_size(len(taken))
        if not piece:
            yield []
    return bytes(taken)


def _raise_error(told: Json) -> None:
    """Raise the error that is told under a status of success, if one is."""
    if told.get("type") == "error" or told.get("error"):
        error = told_error(told) or {"message": told.get("error")}
        raise error_in_success(STATUSES.get(error.get("type", ""), 502), error)


def _top(message: Json, call: Call, kind: str) -> Json:
    told_id, model = message.get("id"), message.get("model")
    return {
        "id": told_id if isinstance(told_id, str) else f"chatcmpl-{call.id}",
        "object": kind,
        "created": call.created,
        "model": model if isinstance(model, str) else call.requested_model,
    }


def _finish(stop_reason: Any) -> str:
    return FINISH_REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def _joined(blocks: list[Json], kind: str) -> str:
    texts = (block.get(kind) for block in blocks if block.get("type") == kind)
    return "".join(text for text in texts if isinstance(text, str))


def _call(block: Json, arguments: str) -> Json:
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _usage(told: Json) -> Json:
    """Give tokens as OpenAI counts them: what was read from the cache or written to it was asked too."""
    fresh, written_to, read_from, said = (
        _number(told.get(name))
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    asked = fresh + written_to + read_from
    thought = _number(_dict(told.get("output_tokens_details")).get("thinking_tokens"))
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": read_from, "cache_write_tokens": written_to},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
