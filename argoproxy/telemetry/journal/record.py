"""What is remembered of one request for the journal: its body, each request sent upstream, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from argoproxy.errors import Ending, ProxyError, UpstreamStatus, to_openai
from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.resilience.failures import classify
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Document
from argoproxy.telemetry.journal.recorders import (
    ByteCounter,
    ByteRecorder,
    EventRecorder,
    FilteredRecorder,
    SizeAndUsageRecorder,
)
from argoproxy.upstreams import UpstreamRequest

Recorder = EventRecorder | FilteredRecorder | SizeAndUsageRecorder | ByteRecorder | ByteCounter

#: A failure of the proxy or the client says nothing about the attempt that was running.
UPSTREAM_FAILURES = (Ending.UPSTREAM_ERROR, Ending.UPSTREAM_TIMEOUT, Ending.UPSTREAM_BROKEN)


@dataclass(slots=True)
class Attempt:
    """One request that was sent upstream, and what came back."""

    upstream: str
    model: str
    send_mode: str
    request: UpstreamRequest
    status: int | None = None
    error: ProxyError | None = None
    recorder: Recorder | None = None
    document: Document | None = None
    #: Seconds since the client's request at which it was sent, and at which it failed.
    sent_s: float = 0.0
    failed_s: float | None = None

    def ending(self, request_ending: Ending) -> Ending:
        """Return how the attempt ended: by its own error; COMPLETE if the reply was read whole; else as the client's
        request did."""
        if self.error:
            return self.error.ending
        return Ending.COMPLETE if self.document else request_ending

    @property
    def failure(self) -> str:
        """The kind of its failure, "" if it did not fail."""
        return str(classify(self.error)) if self.error else ""

    @property
    def input(self) -> Json | None:
        """The body that was sent; only its size if it was passed on unread."""
        body = self.request.body
        if isinstance(body, bytes) and not self.request.has_client_body:
            return parse_body(body)
        return None if body is None else _size(self.request.length)

    @property
    def output(self) -> Json | None:
        """The part of the reply that arrived, with the error that the attempt ended with."""
        return _add_error(_recorded_output(self.document, self.recorder), self.error)


@dataclass(slots=True)
class JournalRecord:
    """What is remembered of one request; the RequestContext fills it, JournalWriter reads it at the end."""

    call: Call | None = None
    #: Whether sizes and usage are enough.
    is_brief: bool = False
    #: The keys that the client sent, to be starred.
    keys: tuple[str, ...] = field(default=(), repr=False)
    #: Bytes of the client's body; None if the client did not declare it.
    length: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    recorder: Recorder | None = None
    document: Document | None = None
    error: ProxyError | None = None

    @property
    def input(self) -> Json | None:
        """The body of the client's request; only its size if it was not parsed, None if there was none."""
        call = self.call
        if call is None or self.length == 0:
            return _size(self.length)
        call = call.origin or call
        return parse_body(call.raw) if call.raw is not None else call.original_body or call.body

    @property
    def output(self) -> Json | None:
        """The part of the response that was sent, with the error it ended with."""
        return _add_error(_recorded_output(self.document, self.recorder), self.error)

    def set_reply_status(self, status: int) -> None:
        """Set the status of the last attempt's reply."""
        if self.attempts:
            self.attempts[-1].status = status

    def set_reply_body(self, body: bytes) -> None:
        """Set the whole body of the last attempt's reply."""
        if self.attempts:
            self.attempts[-1].document = Document(body)

    def fail_attempt(self, error: ProxyError, elapsed_s: float) -> None:
        """Set the error of the last attempt, unless it has one, and when it came."""
        if self.attempts and self.attempts[-1].error is None and error.ending in UPSTREAM_FAILURES:
            self.attempts[-1].error, self.attempts[-1].failed_s = error, elapsed_s

    def make_recorders(self) -> tuple[Filter, Filter]:
        """Return the recorders that stand before and after the filters: of the upstream's answer and the client's."""
        before, after = _brief_recorders() if self.is_brief else _full_recorders()
        if self.attempts:
            self.attempts[-1].recorder = before
        self.recorder = after
        return before, after

    def record_pieces(self, pieces: Iterable[bytes], recorder: ByteRecorder | ByteCounter) -> Iterator[bytes]:
        """Yield the pieces of a body that goes through unchanged, and record them."""
        self.recorder = recorder
        if self.attempts:
            self.attempts[-1].recorder = recorder
        for piece in pieces:
            recorder.add(piece)
            yield piece


def parse_body(body: bytes) -> Json | None:
    """Return the JSON object that a body holds, else its size."""
    try:
        value = loads(body)
    except JsonError:
        value = None
    return value if isinstance(value, dict) else {"bytes": len(body)}


def _full_recorders() -> tuple[EventRecorder, FilteredRecorder]:
    before = EventRecorder()
    return before, FilteredRecorder(before)


def _brief_recorders() -> tuple[SizeAndUsageRecorder, SizeAndUsageRecorder]:
    return SizeAndUsageRecorder(), SizeAndUsageRecorder()


def _add_error(output: Json | None, error: ProxyError | None) -> Json | None:
    """Return an output with the error it ended with, as the client reads it."""
    if error is None:
        return output
    document = parse_body(error.body) if isinstance(error, UpstreamStatus) else to_openai(error)
    return {**(output or {}), "error": (document or {}).get("error", error.message)}


def _recorded_output(document: Document | None, recorder: Recorder | None) -> Json | None:
    if document is not None:
        return parse_body(document.raw)
    return recorder.result() if recorder is not None else None


def _size(length: int | None) -> Json | None:
    return {"bytes": length} if length else None
