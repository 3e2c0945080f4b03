"""Answers of Messages, made of the batches of a chat: a stream of events, or the message that its events make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, JsonError, as_dict, loads_strict
from argoproxy.protocol.messages.answers.error_shape import error_event
from argoproxy.protocol.messages.answers.events import MessageEvents, MessageHead
from argoproxy.protocol.messages.answers.frames import PING, encode_frame, encode_text_frame
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event, check_reply_size


class MessageWriter:
    """Writes the events of a message as bytes, batch by batch."""

    def __init__(self, head: MessageHead) -> None:
        self._head = head
        self._events = MessageEvents(head)
        #: Bytes of the chunks of which something is kept.
        self._kept_size = 0

    def feed(self, batch: Batch) -> bytes:
        """Take a batch; return the bytes to send, b"" if there are none. Raises UpstreamProtocolError."""
        return b"".join([self._write(event) for event in batch])

    def finish(self) -> bytes:
        """Return the end of the stream."""
        return b"".join(map(encode_frame, self._events.finish()))

    def heartbeat(self) -> bytes:
        """Return what is sent in silence."""
        return PING

    def fail(self, error: ProxyError) -> bytes:
        """Return an error as the last event."""
        return error_event(error, self._head.request_id)

    def _write(self, event: Event) -> bytes:
        if isinstance(event, TextRun):
            return self._write_run(event)
        written = b"".join([encode_frame(one) for chunk in chunks_of(event) for one in self._events.add(chunk)])
        if self._events.is_keeping:
            self._kept_size += len(event.raw)
            check_reply_size(self._kept_size)
        return written

    def _write_run(self, run: TextRun) -> bytes:
        """Write events one by one, until a block of text is open: what follows is one delta."""
        if (block := self._events.open_text) is not None:
            return self._write_text(block, run)
        events, written = run.cut(), list[bytes]()
        for position, event in enumerate(events):
            if (block := self._events.open_text) is not None:
                rest = TextRun(b"".join([one.raw for one in events[position:]]))
                return b"".join([*written, self._write_text(block, rest)])
            written.append(self._write(event))
        return b"".join(written)

    def _write_text(self, block: int, run: TextRun) -> bytes:
        text = run.escaped_text()
        is_plain = text.isascii() and b"\\" not in text
        self._events.count_text(len(text) if is_plain else len(run.text()))
        return encode_text_frame(block, text) if text else b""


class MessageBuilder:
    """Puts a message together from its events."""

    def __init__(self) -> None:
        self.message: Json = {}
        self._parts: list[str] = []

    def add(self, event: Json) -> None:
        """Take the next event."""
        kind = event["type"]
        if kind == "message_start":
            self.message = {**event["message"], "content": []}
        elif kind == "content_block_start":
            self.message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._add_delta(event["delta"])
        elif kind == "content_block_stop":
            self._close()
        elif kind == "message_delta":
            self.message.update(event["delta"])
            self.message["usage"] = {**self.message["usage"], **event["usage"]}

    def _add_delta(self, delta: Json) -> None:
        if delta["type"] == "signature_delta":
            self.message["content"][-1]["signature"] = delta["signature"]
        else:
            self._parts += (value for key, value in delta.items() if key != "type")

    def _close(self) -> None:
        block, text = self.message["content"][-1], "".join(self._parts)
        self._parts = []
        if block["type"] == "tool_use":
            block["input"] = _parse_arguments(text)
        elif block["type"] in ("text", "thinking"):
            block[block["type"]] = text


def build_message(batches: Iterable[Batch], head: MessageHead) -> Json:
    """Return the message that a chat makes. Raises ProxyError."""
    events, builder, size, has_choices = MessageEvents(head), MessageBuilder(), 0, False
    for event in _cut(batches):
        size += len(event.raw)
        check_reply_size(size)
        for chunk in chunks_of(event):
            has_choices = has_choices or "choices" in chunk
            for one in events.add(chunk):
                builder.add(one)
    if not has_choices:
        raise UpstreamProtocolError("The upstream's reply contains no completion.")
    for one in events.finish():
        builder.add(one)
    return builder.message


def chunks_of(event: Event) -> Iterable[Json]:
    """Return the chunks that an event holds: those that a whole completion is split into, one, or none."""
    if isinstance(event, Document):
        return split_completion(event.chunk)
    return () if event.chunk is None else (event.chunk,)


def _cut(batches: Iterable[Batch]) -> Iterator[Event]:
    for batch in batches:
        for event in batch:
            if isinstance(event, TextRun):
                yield from event.cut()
            else:
                yield event


def _parse_arguments(text: str) -> Json:
    """Return the input of a call; {} for arguments that were cut off, or that hold NaN, which no client could read."""
    try:
        return as_dict(loads_strict(text.encode("utf-8", "surrogatepass"))) if text else {}
    except JsonError:
        return {}
