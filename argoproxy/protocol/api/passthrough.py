"""Answers that are sent byte for byte: record what they say, and end a broken stream with an error event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from argoproxy.errors import Ending, ProxyError, UpstreamProtocolError
from argoproxy.protocol.api.endpoints import Endpoint
from argoproxy.protocol.api.stream_end import LineBuffer, StreamEnd
from argoproxy.protocol.api.stream_writer import ResponseContext
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.stream.chunk_fields import UsageRemover
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Document, Event, EventDecoder

#: Longer documents, and longer events of a stream, are not searched for usage.
LONGEST_METERED = 8 * 1024 * 1024
_BLANK_LINES = (b"\n\n", b"\r\n\r\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def record_reply(
    pieces: Iterable[bytes], headers: Headers, endpoint: Endpoint, context: ResponseContext
) -> Iterator[bytes]:
    """Yield the pieces unchanged; record the usage in them, and whether a document says that it failed, under whatever
    status. What can't be parsed is ignored."""
    meter = endpoint.usage_meter(context.record_usage)
    reader = _EventUsage(meter) if _is_stream(headers) else _DocumentUsage(meter, context)
    for piece in pieces:
        reader.feed(piece)
        yield piece
    reader.end()


def end_with_error_event(
    pieces: Iterable[bytes], headers: Headers, endpoint: Endpoint, context: ResponseContext
) -> Iterator[bytes]:
    """Return the pieces; to an event stream that breaks off, or ends before its last event, an error is added as the
    last one, unless it was complete; half a line before it is left out. One that its upstream ends with an error is
    recorded as failed. Raises ProxyError where nothing can be added, ClientGone."""
    end, can_add, lines = endpoint.stream_end(), _can_add_event(headers), LineBuffer()
    try:
        for piece in pieces:
            passed = lines.feed(piece) if can_add else piece
            end.feed(passed)
            if end.is_error:  # said at once: clients leave when they read it
                context.set_ending(Ending.UPSTREAM_ERROR)
            yield passed
        if can_add and end.is_missing_after(lines.held):
            raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
        yield from _end_event(lines, end)
    except ProxyError as error:
        if not can_add:
            raise
        if end.is_complete_after(lines.held):
            yield from _end_event(lines, end)
            return
        context.record_failure(error)
        yield (b"" if end.is_between_events else b"\n\n") + endpoint.error_event(error, end.stream_id or context.id)


def withhold_usage(pieces: Iterable[bytes], headers: Headers) -> Iterator[bytes]:
    """Yield the pieces of an event stream without the events that hold its usage and nothing else: the client did not
    ask for them. What is no event stream, or has a fixed length, passes unchanged."""
    held, is_changed = b"", _can_add_event(headers)
    for piece in pieces:
        if not is_changed or not piece:
            yield piece
            continue
        held += piece
        ends = [at + len(blank) for blank in _BLANK_LINES if (at := held.rfind(blank)) >= 0]
        end = len(held) if len(held) > LONGEST_METERED else max(ends, default=0)
        whole, held = held[:end], held[end:]
        if kept := b"".join(_without_usage(whole)) if b'"usage"' in whole else whole:
            yield kept
    if held:
        yield held


def _without_usage(events: bytes) -> Iterator[bytes]:
    start = 0
    for blank in _BLANK_LINE.finditer(events):
        raw, start = events[start : blank.end()], blank.end()
        if not _is_usage(Event(raw)):
            yield raw
    yield events[start:]


def _is_usage(event: Event) -> bool:
    try:
        return b'"usage"' in event.raw and not UsageRemover().feed([event])
    except ProxyError:  # no JSON: not for us to judge
        return False


def _end_event(lines: LineBuffer, end: StreamEnd) -> Iterator[bytes]:
    """Yield what was held back of a stream that has ended, and the blank line that its last event may lack."""
    if lines.held:
        yield lines.held
    elif end.lacks_blank_line:
        yield b"\n\n"


def _can_add_event(headers: Headers) -> bool:
    is_fixed = get_header(headers, "content-length") or get_header(headers, "content-encoding")
    return _is_stream(headers) and not is_fixed


def _is_stream(headers: Headers) -> bool:
    return get_header(headers, "content-type").startswith("text/event-stream")


class _EventUsage:
    def __init__(self, meter: Filter) -> None:
        self._meter = meter
        self._decoder: EventDecoder | None = EventDecoder(LONGEST_METERED)
        self._is_between_events = True

    def feed(self, piece: bytes) -> None:
        if self._decoder is None:
            return
        was_between, self._is_between_events = self._is_between_events, piece.endswith(b"\n\n")
        if was_between and self._is_between_events:
            piece = b"".join(_events_with_usage(piece))
        if not piece:  # nearly all pieces of a stream
            return
        try:
            self._meter.feed(self._decoder.feed(piece))
        except ProxyError:
            self._decoder = None

    def end(self) -> None:
        """Do nothing: an event is complete only with its blank line."""


def _events_with_usage(piece: bytes) -> Iterator[bytes]:
    """Yield the events that may hold usage, of a piece of whole events: few of a stream do."""
    at = piece.find(b'"usage"')
    while at >= 0:
        end = piece.index(b"\n\n", at) + 2
        yield piece[piece.rfind(b"\n\n", 0, at) + 1 : end]
        at = piece.find(b'"usage"', end)


class _DocumentUsage:
    def __init__(self, meter: Filter, context: ResponseContext) -> None:
        self._meter = meter
        self._context = context
        self._received = bytearray()

    def feed(self, piece: bytes) -> None:
        if len(self._received) <= LONGEST_METERED:
            self._received += piece

    def end(self) -> None:
        if len(self._received) <= LONGEST_METERED:
            with suppress(ProxyError):
                document = Document(bytes(self._received))
                if document.chunk.get("error") or document.chunk.get("status") == "failed":
                    self._context.set_ending(Ending.UPSTREAM_ERROR)
                self._meter.feed([document])
