"""Server-sent events: bytes to events and back, by the rules of WHATWG HTML section 9.2.

An event keeps the bytes it came in, so that what nobody changed leaves as it came; it is parsed when first
asked. The concatenated `raw` of all that a Decoder gives is its input, with two repairs without which official
clients lose an event: a leading byte order mark is taken away, a last event without its blank line gets one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Self

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import JsonError, dumps, loads

EVENT_LIMIT = 8 * 1024 * 1024
DOCUMENT_LIMIT = 256 * 1024 * 1024
LONGEST_DONE = 64
HEARTBEAT = b": heartbeat\n\n"
#: A blank line behind a comment is an empty event to OpenAI's client for Python, once an event has had an id.
QUIET_HEARTBEAT = b": heartbeat\n"

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
#: The line end that makes a blank line; a CR after LF counts once the byte behind it is known not to be its LF.
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n|\r(?=[^\n]))|\r\r")


class Event:
    """One event: `raw`, its bytes with the blank line, and `chunk`, the object its data holds; each made from
    the other when first asked for. `[DONE]`, comments and whatever holds no object have None as their chunk.

    Asking for a chunk raises UpstreamProtocolError when the data begins like an object and is none."""

    __slots__ = ("chunk", "raw")
    raw: bytes
    chunk: dict[str, Any] | None

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @classmethod
    def of(cls, chunk: dict[str, Any]) -> Self:
        """Make an event of a chunk."""
        event = cls.__new__(cls)
        event.chunk = chunk
        return event

    def __getattr__(self, name: str) -> Any:
        if name == "raw":
            self.raw = self._written()
            return self.raw
        if name == "chunk":
            self.chunk = self._parsed()
            return self.chunk
        raise AttributeError(name)

    def _written(self) -> bytes:
        return b"data: " + encode_json(self.chunk) + b"\n\n"

    def _parsed(self) -> dict[str, Any] | None:
        data = event_data(self.raw)
        return _object(data) if data is not None and data.lstrip()[:1] == b"{" else None


class Document(Event):
    """A whole reply: `raw` is the JSON text, `chunk` the object it holds."""

    __slots__ = ()
    chunk: dict[str, Any]

    def _written(self) -> bytes:
        return encode_json(self.chunk)

    def _parsed(self) -> dict[str, Any]:
        return _object(self.raw)


#: An event that tells one choice's text and nothing else, as most servers write it: its index and its text.
PLAIN_EVENT = re.compile(
    rb'data: \{(?:"(?:id|object|created|model|system_fingerprint|service_tier|provider)":(?:"[^"\\]*"|\d+|null),)*'
    rb'"choices":\[\{"index":(\d{1,9}),"delta":\{"content":"([^"\\]*(?:\\.[^"\\]*)*)"\},'
    rb'(?:"logprobs":null,)?"finish_reason":null\}\](?:,"usage":null)?\}\n\n'
)
#: The same, where it is sure to be good JSON.
_GOOD_PLAIN_EVENT = re.compile(
    rb'data: \{(?:"(?:id|object|created|model|system_fingerprint|service_tier|provider)":'
    rb'(?:"[^"\\\x00-\x1f]*"|[1-9]\d*|0|null),)*"choices":\[\{"index":(0|[1-9]\d{0,8}),"delta":\{"content":'
    rb'"([^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*)"\},'
    rb'(?:"logprobs":null,)?"finish_reason":null\}\](?:,"usage":null)?\}\n\n'
)
Batch = list[Event]
DONE = Event(b"data: [DONE]\n\n")


def is_done(event: Event) -> bool:
    """Tell whether this is the `[DONE]` that ends a stream."""
    raw = event.raw
    return len(raw) < LONGEST_DONE and b"[DONE]" in raw and (event_data(raw) or b"").strip() == b"[DONE]"


def is_plain(event: Event) -> bool:
    """Tell whether this is known to be a good chunk of one choice's text, without reading it as JSON."""
    return _GOOD_PLAIN_EVENT.fullmatch(event.raw) is not None and (event.raw.isascii() or is_utf8(event.raw))


def is_utf8(text: bytes) -> bool:
    """Tell whether bytes are text."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def event_data(raw: bytes) -> bytes | None:
    """Give the data of an event: its data lines joined by LF; None when it has none."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return raw[6:-2]
    fields = [line.partition(b":")[2] for line in _LINE_END.split(raw) if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(value.removeprefix(b" ") for value in fields) if fields else None


def check_size(size: int) -> None:
    """See that a reply can be held whole. Raises UpstreamProtocolError over DOCUMENT_LIMIT."""
    if size > DOCUMENT_LIMIT:
        raise UpstreamProtocolError(f"The upstream's reply is longer than {DOCUMENT_LIMIT} bytes.")


class Decoder:
    """Cuts a stream of bytes into events; any cut of the input gives the same events."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0
        self._at_start = True

    def feed(self, piece: bytes) -> Batch:
        """Take what has arrived, give the events it completes. Raises UpstreamProtocolError over the limit."""
        if self._at_start:
            piece = self._skip_bom(piece)
        if self._rest or b"\r" in piece:
            self._rest += piece
            return self._cut_rest()
        *whole, rest = piece.split(b"\n\n")
        self._keep(rest)
        return [Event(raw + b"\n\n") for raw in whole]

    def finish(self) -> Batch:
        """Take the end of the stream, give the last event if its blank line was missing."""
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
        rest, start, found = self._rest, 0, []
        for end in _BLANK_LINE.finditer(rest, self._searched):
            found.append(Event(bytes(rest[start : end.end()])))
            start = end.end()
        del rest[:start]
        self._searched = max(0, len(rest) - 3)
        self._bound(len(rest))
        return found

    def _keep(self, rest: bytes) -> None:
        self._rest += rest
        self._searched = max(0, len(rest) - 3)
        self._bound(len(rest))

    def _bound(self, size: int) -> None:
        if size > self._limit:
            raise UpstreamProtocolError(
                f"The upstream sent an event of more than {self._limit} bytes.", code="upstream_event_too_large"
            )


def decode(pieces: Iterable[bytes], limit: int = EVENT_LIMIT) -> Iterator[Batch]:
    """Turn pieces into batches: the events that arrived together; an empty piece gives an empty batch."""
    decoder = Decoder(limit)
    for piece in pieces:
        yield decoder.feed(piece)
    if last := decoder.finish():
        yield last


def encode_json(value: Any) -> bytes:
    """Write what an upstream sent as JSON again. Raises UpstreamProtocolError when it is nested too deeply."""
    try:
        return dumps(value)
    except JsonError as error:
        raise UpstreamProtocolError(f"The upstream sent JSON that can't be written again: {error}.") from None


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = loads(text)
    except JsonError as error:
        raise UpstreamProtocolError(f"The upstream sent broken JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UpstreamProtocolError("The upstream sent JSON that is no object.")
    return value
