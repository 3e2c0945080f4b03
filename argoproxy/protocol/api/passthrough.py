"""Answers that are sent byte for byte: read their usage, and end a broken stream with an error event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from argoproxy.errors import ProxyError
from argoproxy.protocol.api.endpoints import ResponseContext, error_event
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.sse import LONGEST_DONE, Document, EventDecoder

#: Longer documents, and longer events of a stream, are not searched for usage.
LONGEST_METERED = 8 * 1024 * 1024

Note = Callable[[Json], None]


def meter_usage(pieces: Iterable[bytes], headers: Headers, note: Note) -> Iterator[bytes]:
    """Yield the pieces unchanged, and report the usage in them; what can't be parsed is ignored."""
    meter = _EventUsage(note) if _is_stream(headers) else _DocumentUsage(note)
    for piece in pieces:
        meter.feed(piece)
        yield piece
    meter.end()


def end_with_error_event(pieces: Iterable[bytes], headers: Headers, context: ResponseContext) -> Iterator[bytes]:
    """Return the pieces; to an event stream that breaks off an error is added as its last event, unless it was
    `[DONE]`. Raises ProxyError where nothing can be added, ClientGone."""
    last = b""
    try:
        for piece in pieces:
            last = (last + piece)[-LONGEST_DONE:]
            yield piece
    except ProxyError as error:
        if not _is_stream(headers) or get_header(headers, "content-length") or get_header(headers, "content-encoding"):
            raise
        if last.rstrip().endswith(b"data: [DONE]"):
            return
        context.record_failure(error)
        yield (b"" if last.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n") + error_event(error)


def _is_stream(headers: Headers) -> bool:
    return get_header(headers, "content-type").startswith("text/event-stream")


class _EventUsage:
    def __init__(self, note: Note) -> None:
        self._meter = UsageMeter(note)
        self._decoder: EventDecoder | None = EventDecoder(LONGEST_METERED)

    def feed(self, piece: bytes) -> None:
        if self._decoder is None:
            return
        try:
            self._meter.feed(self._decoder.feed(piece))
        except ProxyError:
            self._decoder = None

    def end(self) -> None:
        """Do nothing: an event is complete only with its blank line."""


class _DocumentUsage:
    def __init__(self, note: Note) -> None:
        self._meter = UsageMeter(note)
        self._received = bytearray()

    def feed(self, piece: bytes) -> None:
        if len(self._received) <= LONGEST_METERED:
            self._received += piece

    def end(self) -> None:
        if len(self._received) <= LONGEST_METERED:
            with suppress(ProxyError):
                self._meter.feed([Document(bytes(self._received))])
