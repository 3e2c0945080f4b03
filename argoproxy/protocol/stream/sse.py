"""Server-sent events: bytes to events and back (WHATWG HTML section 9.2).

An event keeps its bytes, so that an unchanged event is sent byte for byte; it is parsed on first use. The events of a
EventDecoder, concatenated, are its input with two repairs, without which official clients lose an event: a leading byte
order mark is removed, and a last event without a blank line gets one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import JsonError, dumps, loads

EVENT_LIMIT = 8 * 1024 * 1024
DOCUMENT_LIMIT = 256 * 1024 * 1024
LONGEST_DONE = 64
HEARTBEAT = b": heartbeat\n\n"
#: Without a blank line: openai-python takes a blank line after a comment for an empty event once an event had an id.
QUIET_HEARTBEAT = b": heartbeat\n"

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
#: The end of a blank line. A CR after LF counts only if the next byte is known and no LF: CR LF may be cut in two.
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n|\r(?=[^\n]))|\r\r")


class Event:
    """One event: `raw`, its bytes with the blank line, and `chunk`, the JSON object in its data; each is made from the
    other on first use. `chunk` is None for `[DONE]`, comments and data that is no object.

    Reading `chunk` raises UpstreamProtocolError if the data begins with `{` and is no valid JSON object."""

    __slots__ = ("chunk", "raw")
    raw: bytes
    chunk: dict[str, Any] | None

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @classmethod
    def of(cls, chunk: dict[str, Any]) -> Self:
        """Return the event that holds a chunk."""
        event = cls.__new__(cls)
        event.chunk = chunk
        return event

    def __getattr__(self, name: str) -> Any:
        if name == "raw":
            self.raw = self._encode()
            return self.raw
        if name == "chunk":
            self.chunk = self._parse()
            return self.chunk
        raise AttributeError(name)

    def _encode(self) -> bytes:
        return b"data: " + encode_json(self.chunk) + b"\n\n"

    def _parse(self) -> dict[str, Any] | None:
        data = event_data(self.raw)
        return _parse_object(data) if data is not None and data.lstrip()[:1] == b"{" else None


class Document(Event):
    """A whole reply: `raw` is its JSON text, `chunk` the object."""

    __slots__ = ()
    chunk: dict[str, Any]

    def _encode(self) -> bytes:
        return encode_json(self.chunk)

    def _parse(self) -> dict[str, Any]:
        return _parse_object(self.raw)


#: What may stand behind the finish reason of a choice, as null: vLLM, SGLang, OpenRouter.
CHOICE_NULLS = ("logprobs", "stop_reason", "token_ids", "matched_stop", "native_finish_reason")
#: How a plain event ends, behind its text. `obfuscation` is padding (OpenAI API reference, stream_options).
PLAIN_END = (
    rb'"\},(?:"logprobs":null,)?+"finish_reason":null(?:,"(?:%s)":null)*+\}\]'
    rb'(?:,(?:"usage":null|"obfuscation":"[0-9A-Za-z]*+"))*+\}\n\n' % "|".join(CHOICE_NULLS).encode()
)
#: An event with the text of one choice and nothing else, as most servers write it; groups: index, text.
PLAIN_EVENT = re.compile(
    rb'data: \{(?:"(?:id|object|created|model|system_fingerprint|service_tier|provider)":(?:"[^"\\]*"|\d+|null),)*'
    rb'"choices":\[\{"index":(\d{1,9}),"delta":\{"content":"([^"\\]*(?:\\.[^"\\]*)*)' + PLAIN_END
)
#: The same, with certainty that it is valid JSON.
_GOOD_PLAIN_EVENT = re.compile(
    rb'data: \{(?:"(?:id|object|created|model|system_fingerprint|service_tier|provider)":'
    rb'(?:"[^"\\\x00-\x1f]*"|[1-9]\d*|0|null),)*"choices":\[\{"index":(0|[1-9]\d{0,8}),"delta":\{"content":'
    rb'"([^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*)' + PLAIN_END
)
Batch = list[Event]
DONE = Event(b"data: [DONE]\n\n")


def is_done(event: Event) -> bool:
    """Return whether this is the `[DONE]` that ends a stream."""
    raw = event.raw
    return len(raw) < LONGEST_DONE and b"[DONE]" in raw and (event_data(raw) or b"").strip() == b"[DONE]"


def is_plain(event: Event) -> bool:
    """Return whether this is certainly a valid chunk with one choice's text, without parsing it."""
    return _GOOD_PLAIN_EVENT.fullmatch(event.raw) is not None and (event.raw.isascii() or is_utf8(event.raw))


def is_utf8(text: bytes) -> bool:
    """Return whether bytes are valid UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def event_data(raw: bytes) -> bytes | None:
    """Return the data of an event, its data lines joined by LF; None if it has none."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return raw[6:-2]
    fields = [line.partition(b":")[2] for line in _LINE_END.split(raw) if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(value.removeprefix(b" ") for value in fields) if fields else None


class PlainEvent(NamedTuple):
    """What was read of a plain event: the index of its choice, and where its text stands, as it is in the JSON."""

    choice: int
    start: int
    end: int


class PlainEventReader:
    """Reads plain events (see PLAIN_EVENT). Most events of a stream differ only in their text, so the bytes around the
    text of the last event are compared first, which takes a third of the pattern's time."""

    __slots__ = ("_head", "_index", "_tail")

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._index = 0

    def read(self, raw: bytes) -> PlainEvent | None:
        """Return where the text of an event is, None if the event is not plain."""
        head, tail = self._head, self._tail
        if head and raw.startswith(head) and raw.endswith(tail):
            start, end = len(head), len(raw) - len(tail)
            if start <= end and raw.find(b'"', start, end) < 0 and raw.find(b"\\", start, end) < 0:
                return PlainEvent(self._index, start, end)
        plain = PLAIN_EVENT.fullmatch(raw)
        if not plain:
            return None
        start, end = plain.span(2)
        self._head, self._tail, self._index = raw[:start], raw[end:], int(plain.group(1))
        return PlainEvent(self._index, start, end)


def check_reply_size(size: int) -> None:
    """Raise UpstreamProtocolError if a whole reply is larger than DOCUMENT_LIMIT."""
    if size > DOCUMENT_LIMIT:
        raise UpstreamProtocolError(f"The upstream's reply is larger than {DOCUMENT_LIMIT} bytes.")


class EventDecoder:
    """Cuts a stream of bytes into events, the same ones however the bytes are split into pieces."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0
        self._at_start = True

    def feed(self, piece: bytes) -> Batch:
        """Take a piece and return the events it completes. Raises UpstreamProtocolError if one exceeds the limit."""
        if self._at_start:
            piece = self._skip_bom(piece)
        if self._rest or b"\r" in piece:
            self._rest += piece
            return self._cut_rest()
        # Most pieces hold whole events with LF line ends; splitting those is cheaper than the pattern.
        *whole, rest = piece.split(b"\n\n")
        self._rest += rest
        self._mark_searched()
        return [Event(raw + b"\n\n") for raw in whole]

    def finish(self) -> Batch:
        """Take the end of the stream and return the last event if its blank line was missing."""
        rest = bytes(self._rest)
        self._rest.clear()
        if not rest.strip():
            return [Event(rest)] if rest else []
        line_end = b"" if rest.endswith(b"\n") else b"\n"
        return [Event(rest + line_end + b"\n")]

    def _skip_bom(self, piece: bytes) -> bytes:
        start = bytes(self._rest) + piece
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._rest[:] = start
            return b""
        self._rest.clear()
        self._at_start = False
        return start.removeprefix(_BOM)

    def _cut_rest(self) -> Batch:
        rest, start, events = self._rest, 0, []
        for end in _BLANK_LINE.finditer(rest, self._searched):
            events.append(Event(bytes(rest[start : end.end()])))
            start = end.end()
        del rest[:start]
        self._mark_searched()
        return events

    def _mark_searched(self) -> None:
        """Begin the next search where a blank line cut in two (up to CR LF CR) could begin; check the size."""
        self._searched = max(0, len(self._rest) - 3)
        if len(self._rest) > self._limit:
            raise UpstreamProtocolError(
                f"The upstream sent an event larger than {self._limit} bytes.", code="upstream_event_too_large"
            )


def decode_events(pieces: Iterable[bytes], limit: int = EVENT_LIMIT) -> Iterator[Batch]:
    """Turn pieces into batches of the events that they complete; an empty piece gives an empty batch."""
    decoder = EventDecoder(limit)
    for piece in pieces:
        yield decoder.feed(piece)
    if last := decoder.finish():
        yield last


def encode_json(value: Any) -> bytes:
    """Return a value from an upstream as JSON text. Raises UpstreamProtocolError if it is nested too deeply."""
    try:
        return dumps(value)
    except JsonError as error:
        raise UpstreamProtocolError(f"The upstream sent JSON that cannot be encoded again: {error}.") from None


def _parse_object(text: bytes) -> dict[str, Any]:
    try:
        value = loads(text)
    except JsonError as error:
        raise UpstreamProtocolError(f"The upstream sent invalid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UpstreamProtocolError("The upstream sent JSON that is not an object.")
    return value
