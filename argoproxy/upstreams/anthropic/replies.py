"""Anthropic's replies as OpenAI's completions, whole or streamed.

A stream is complete once it has a stop reason: some servers close the connection without `message_stop`. The first
chunk waits for the first block, so that an error before it can still lead to another upstream.
Source: Anthropic API reference, Messages and Streaming.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.chunks import CHAT_CHUNK
from argoproxy.protocol.stream.runs import RunDecoder, TextFrame, TextRun
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, event_data, is_done
from argoproxy.upstreams import Reply
from argoproxy.upstreams.anthropic.deltas import TEXT_RUN, BlockReader
from argoproxy.upstreams.anthropic.error_types import error_in
from argoproxy.upstreams.anthropic.tools import custom_names
from argoproxy.upstreams.detect import Form, detect_form, read_document, read_start

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: What a message says of its end beside the stop reason.
_ENDING = ("stop_sequence", "stop_details")


def read_reply(reply: Reply, call: Call) -> Iterator[Batch]:
    """Read a reply in either form, text in runs. Raises ProxyError if it broke off, or is an error or no message."""
    pieces = reply.iter_bytes()
    start = yield from read_start(pieces)
    if detect_form(start, reply.headers) is Form.DOCUMENT:
        body = yield from read_document(chain((start,), pieces))
        yield [make_completion(body, call)]
    else:
        yield from _read_stream(chain((start,) if start else (), pieces), call)


def make_completion(body: bytes, call: Call) -> Document:
    """Return a whole reply as a completion. Raises ProxyError if it holds an error or no message."""
    message = Document(body).chunk
    if error := error_in(message):
        raise error
    if not isinstance(message.get("content"), list):
        raise UpstreamProtocolError("The upstream's reply contains no completion.")
    stream = MessageStream(call)
    chunks = list(stream.begin(message))
    for index, block in enumerate(as_dicts(message["content"])):
        chunks += [*stream.start_block(index, block), *stream.stop_block(index)]
    stream.end({**message, "stop_reason": as_text(message.get("stop_reason"))})
    completion = assemble_completion([*chunks, *stream.finish(), *stream.usage_chunks()])
    answer = completion["choices"][0].get("message", {})
    if "tool_calls" in answer:
        answer["content"] = answer["content"] or None
    return Document.of(completion)


def make_usage(usage: Json) -> Json:
    """Return token counts as OpenAI counts: the prompt includes tokens read from the cache or written to it."""
    uncached, written, read, completion = (
        _count(usage.get(name))
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    prompt = uncached + written + read
    reasoning = _count(as_dict(usage.get("output_tokens_details")).get("thinking_tokens"))
    written_1h = _count(as_dict(usage.get("cache_creation")).get("ephemeral_1h_input_tokens"))
    details = {"cached_tokens": read, "cache_write_tokens": written}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {**details, **({"cache_write_1h_tokens": written_1h} if written_1h else {})},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


class MessageStream:
    """Turns the parts of one message into chunks."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._is_legacy = call.path == COMPLETIONS.path
        self._top: Json = {}
        self._usage: Json = {}
        self._ending: Json = {}
        self._has_role = False
        self._blocks = BlockReader(custom_names(call.body))

    @property
    def is_complete(self) -> bool:
        """Whether the message has told why it stopped."""
        return isinstance(self._ending.get("stop_reason"), str)

    def begin(self, message: Json) -> Iterator[Json]:
        """Take the head of the message, which is no chunk yet."""
        self._top = _top_fields(message, self._call)
        self._count_usage(message)
        return iter(())

    def start_block(self, index: int, block: Json) -> Iterator[Json]:
        """Begin a block."""
        content = None if block.get("type") == "tool_use" else ""
        return chain(self._start_message(content), self._make_chunks(self._blocks.start(index, block)))

    def add_delta(self, index: int, delta: Json) -> Iterator[Json]:
        """Continue a block."""
        return chain(self._start_message(""), self._make_chunks(self._blocks.add(index, delta)))

    def read_text_run(self, raw: bytes) -> Sequence[bytes] | None:
        """Return the texts of a run as they are in the JSON; None if its events have to be read one by one."""
        return None if self._is_legacy else self._blocks.read_text_run(raw)

    def make_text(self, text: str) -> Json:
        """Return a chunk with text."""
        return self._make_chunk({"content": text})

    def stop_block(self, index: int) -> Iterator[Json]:
        """End a block."""
        return self._make_chunks(self._blocks.stop(index))

    def end(self, message: Json) -> None:
        """Take the reason why the message stopped, and its usage: totals so far, where null means unchanged."""
        known = ("stop_reason", *_ENDING)
        self._ending |= {name: message[name] for name in known if message.get(name) is not None}
        self._count_usage(message)

    def finish(self) -> Iterator[Json]:
        """Yield the last chunk with a choice. Raises UpstreamProtocolError if the message is not complete."""
        if not self.is_complete:
            raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
        yield from self._start_message("")
        reason = self._ending["stop_reason"]
        finish_reason = _FINISH_REASONS.get(reason, "stop")
        if self._blocks.has_calls and finish_reason == "stop" and reason != "pause_turn":
            finish_reason = "tool_calls"
        own = {name: self._ending[name] for name in _ENDING if name in self._ending}
        yield self._make_chunk({}, {"finish_reason": finish_reason, "native_finish_reason": reason or None, **own})

    def usage_chunks(self) -> Iterator[Json]:
        """Yield the chunk with the usage, if that is known."""
        if self._usage:
            yield {**self._top, "choices": [], "usage": make_usage(self._usage)}

    def _start_message(self, content: str | None) -> Iterator[Json]:
        if not (self._has_role or self._is_legacy):
            self._has_role = True
            self._top = self._top or _top_fields({}, self._call)
            yield self._make_chunk({"role": "assistant", "content": content, "refusal": None})

    def _make_chunks(self, deltas: Iterable[Json]) -> Iterator[Json]:
        for delta in deltas:
            if not self._is_legacy or "content" in delta:
                yield self._make_chunk(delta)

    def _make_chunk(self, delta: Json, ending: Json | None = None) -> Json:
        content: Json = {"text": delta.get("content", "")} if self._is_legacy else {"delta": delta}
        choice = {"index": 0, **content, "logprobs": None, **(ending or {"finish_reason": None})}
        return {**self._top, "choices": [choice]}

    def _count_usage(self, message: Json) -> None:
        counts = as_dict(message.get("usage"))
        self._usage |= {name: count for name, count in counts.items() if count is not None}


class _EventReader:
    """Reads the events of a stream into chunks."""

    def __init__(self, call: Call) -> None:
        self.is_over = False
        self._includes_usage = call.include_usage
        self._message = MessageStream(call)
        self._frame: TextFrame | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing if the connection breaks now."""
        return self._message.is_complete

    def read(self, event: Event) -> Iterator[Event]:
        """Yield the chunks of an event. Raises the error that it holds."""
        if isinstance(event, TextRun):
            yield from self._read_run(event)
            return
        data = _parse_data(event)
        if data.get("type") == "message_stop":
            yield from self.finish()
            return
        if error := error_in(data):
            raise error
        yield from map(self._make_event, self._convert(data))

    def finish(self) -> Iterator[Event]:
        """Yield the last chunks. Raises UpstreamProtocolError if the message is not complete."""
        yield from map(self._make_event, self._message.finish())
        self.is_over = True
        if self._includes_usage:
            yield from map(Event.of, self._message.usage_chunks())
        yield DONE

    def _convert(self, data: Json) -> Iterator[Json]:
        index = _count(data.get("index"))
        match data.get("type"):
            case "message_start":
                return self._message.begin(as_dict(data.get("message")))
            case "content_block_start":
                return self._message.start_block(index, as_dict(data.get("content_block")))
            case "content_block_delta":
                return self._message.add_delta(index, as_dict(data.get("delta")))
            case "content_block_stop":
                return self._message.stop_block(index)
            case "message_delta":
                self._message.end({**as_dict(data.get("delta")), "usage": data.get("usage")})
        return iter(())

    def _read_run(self, run: TextRun) -> Iterator[Event]:
        """Yield the chunks of a run: another run, because they differ only in texts, which are JSON already."""
        texts = self._message.read_text_run(run.raw)
        if texts is None:
            for event in run.cut():
                yield from self.read(event)
        elif texts := [text for text in texts if text]:
            self._frame = self._frame or TextFrame.of(self._make_event(self._message.make_text("")))
            yield from self._frame.make_events(texts)

    def _make_event(self, chunk: Json) -> Event:
        return Event.of({**chunk, "usage": None} if self._includes_usage else chunk)


def _read_stream(pieces: Iterator[bytes], call: Call) -> Iterator[Batch]:
    decoder, reader = RunDecoder(pattern=TEXT_RUN), _EventReader(call)
    for piece in _ignore_late_break(pieces, reader):
        yield from _read_events(decoder.feed(piece), reader)
        if not piece:
            yield []
        if reader.is_over:
            return
    # What follows the last blank line may be half an event.
    with suppress(UpstreamProtocolError):
        yield from _read_events(decoder.finish(), reader)
    if not reader.is_over:
        yield list(reader.finish())


def _ignore_late_break(pieces: Iterator[bytes], reader: _EventReader) -> Iterator[bytes]:
    """Yield the pieces. A connection that breaks after the stop reason counts as the end: nothing is missing."""
    try:
        yield from pieces
    except ProxyError:
        if not reader.is_complete:
            raise


def _parse_data(event: Event) -> Json:
    """Return the object in an event, {} if it has no data. Raises UpstreamProtocolError for any other data."""
    if event.chunk is None and event_data(event.raw) and not is_done(event):
        raise UpstreamProtocolError("The upstream sent an event that is not a JSON object.")
    return event.chunk or {}


def _read_events(events: Batch, reader: _EventReader) -> Iterator[Batch]:
    """Yield the chunks of events that arrived together, also of those before an error."""
    chunks: Batch = []
    try:
        for event in events:
            chunks += () if reader.is_over else reader.read(event)
    except ProxyError:
        if chunks:
            yield chunks
        raise
    if chunks:
        yield chunks


def _top_fields(message: Json, call: Call) -> Json:
    """Return the fields that all chunks have."""
    prefix, kind = ("cmpl", "text_completion") if call.path == COMPLETIONS.path else ("chatcmpl", CHAT_CHUNK)
    return {
        "id": as_text(message.get("id")) or f"{prefix}-{call.id}",
        "object": kind,
        "created": call.created,
        "model": as_text(message.get("model")) or call.requested_model,
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
