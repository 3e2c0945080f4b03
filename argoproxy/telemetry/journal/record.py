"""What is remembered of one request for the journal: what came, what was sent upstream, and what came back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from argoproxy.errors import Ending, ProxyError, UpstreamStatus, to_openai
from argoproxy.protocol.json_text import Json, JsonError, loads
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

Ear = EventRecorder | FilteredRecorder | SizeAndUsageRecorder | ByteRecorder | ByteCounter

_FROM_UPSTREAM = (Ending.UPSTREAM_ERROR, Ending.UPSTREAM_TIMEOUT, Ending.UPSTREAM_BROKEN)


@dataclass(slots=True)
class Attempt:
    """One request that was sent upstream, and what came of it."""

    upstream: str
    model: str
    send_mode: str
    asked: UpstreamRequest
    status: int | None = None
    error: ProxyError | None = None
    ear: Ear | None = None
    document: Document | None = None

    def ending(self, otherwise: Ending) -> Ending:
        """Give how it ended: as the client's request did, where it did not fail and was not over before."""
        if self.error:
            return self.error.ending
        return Ending.COMPLETE if self.document else otherwise

    @property
    def input(self) -> Json | None:
        """The body that was sent: its size where it was sent as it came."""
        body = self.asked.body
        if isinstance(body, bytes) and not self.asked.has_client_body:
            return read_body(body)
        return None if body is None else _size(self.asked.length)

    @property
    def output(self) -> Json | None:
        """What came back, as far as it came, and the error it ended with."""
        return with_error(_heard(self.document, self.ear), self.error)


@dataclass(slots=True)
class JournalRecord:
    """What is remembered of one request; it is filled through the context, and read when that is closed."""

    call: Call | None = None
    #: Whether sizes are enough.
    is_brief: bool = False
    #: Keys that the client sent.
    keys: tuple[str, ...] = field(default=(), repr=False)
    #: How long the client's body is; None where that is not told.
    length: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    ear: Ear | None = None
    document: Document | None = None
    error: ProxyError | None = None

    @property
    def input(self) -> Json | None:
        """The body of the client's request, as it came; its size where nobody read it, None where there was none."""
        call = self.call
        if call is None or self.length == 0:
            return _size(self.length)
        return read_body(call.raw) if call.raw is not None else call.came or call.body

    @property
    def output(self) -> Json | None:
        """What the client was answered, as far as it was."""
        return with_error(_heard(self.document, self.ear), self.error)

    def sends(self, attempt: Attempt) -> None:
        """Take note of a request that goes upstream."""
        self.attempts.append(attempt)

    def comes(self, status: int) -> None:
        """Take note of the status of the last attempt's reply."""
        if self.attempts:
            self.attempts[-1].status = status

    def fails(self, error: ProxyError) -> None:
        """Take note of how the last attempt failed; the first failure counts."""
        if self.attempts and self.attempts[-1].error is None and error.ending in _FROM_UPSTREAM:
            self.attempts[-1].error = error

    def ears(self) -> tuple[Filter, Filter]:
        """Give the ears of what the last attempt says and of what the client is told."""
        first = EventRecorder()
        theirs, ours = (
            (SizeAndUsageRecorder(), SizeAndUsageRecorder()) if self.is_brief else (first, FilteredRecorder(first))
        )
        if self.attempts:
            self.attempts[-1].ear = theirs
        self.ear = ours
        return theirs, ours

    def listening(self, pieces: Iterable[bytes], ear: ByteRecorder | ByteCounter) -> Iterator[bytes]:
        """Give the pieces of an answer that goes out as it comes in, listened to."""
        self.ear = ear
        if self.attempts:
            self.attempts[-1].ear = ear
        for piece in pieces:
            ear.hear(piece)
            yield piece

    def reads(self, body: bytes) -> None:
        """Take note of the last attempt's reply, which was read to its end."""
        if self.attempts:
            self.attempts[-1].document = Document(body)

    def answers(self, document: Document) -> None:
        """Take note of an answer that was made of whole replies."""
        self.document = document


def read_body(body: bytes) -> Json | None:
    """Give a body as the object it holds; else its size."""
    try:
        value = loads(body)
    except JsonError:
        value = None
    return value if isinstance(value, dict) else {"bytes": len(body)}


def error_document(error: ProxyError) -> Json:
    """Give an error as the client reads it."""
    told = read_body(error.body) if isinstance(error, UpstreamStatus) else to_openai(error)
    return {"error": (told or {}).get("error", error.message)}


def with_error(heard: Json | None, error: ProxyError | None) -> Json | None:
    """Give what was heard with the error it ended with."""
    return heard if error is None else {**(heard or {}), **error_document(error)}


def _size(length: int | None) -> Json | None:
    return {"bytes": length} if length else None


def _heard(document: Document | None, ear: Ear | None) -> Json | None:
    if document is not None:
        return read_body(document.raw)
    return ear.heard() if ear is not None else None
