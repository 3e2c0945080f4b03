"""Recorders put together, for the journal, the parts of an answer that pass. They change nothing."""

from __future__ import annotations

from copy import deepcopy

from argoproxy.errors import ProxyError
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.stream.assembly import CompletionAssembler
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.runs import RunDecoder, TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event

#: Bytes of an answer that are kept in memory for the journal; of a longer one only the size is written.
MAX_RECORDED_BYTES = 32 * 1024 * 1024


class EventRecorder:
    """A Filter that changes nothing and puts together what passes: a document, or chunks.

    A batch is added when the next one comes. Until then a FilteredRecorder behind the filters can see whether the same
    batch reached it, and `copy_without_latest` can leave it out.
    """

    takes_runs = True

    def __init__(self) -> None:
        self.latest: Batch = []
        self._assembly = CompletionAssembler()
        self._document: Json | None = None
        self._size = 0
        self._has_chunks = False

    def feed(self, batch: Batch) -> Batch:
        self._add_latest()
        self.latest = batch
        return batch

    def finish(self) -> Batch:
        return []

    def result(self) -> Json | None:
        """Return what passed so far as a document; None if nothing did."""
        self._add_latest()
        if self._size > MAX_RECORDED_BYTES:
            return {"bytes": self._size}
        if self._document is not None:
            return self._document
        return self._assembly.document() if self._has_chunks else None

    def copy_without_latest(self) -> EventRecorder:
        """Return a separate recorder of what passed before the latest batch."""
        other = EventRecorder()
        other._assembly, other._document = deepcopy(self._assembly), self._document
        other._size, other._has_chunks = self._size, self._has_chunks
        return other

    def _add_latest(self) -> None:
        batch, self.latest = self.latest, []
        for event in batch:
            self._size += len(event.raw)
            if self._size <= MAX_RECORDED_BYTES:
                self._add(event)

    def _add(self, event: Event) -> None:
        if isinstance(event, TextRun):
            self._has_chunks = True
            self._assembly.add_run(event)
            return
        try:
            chunk = event.chunk
        except ProxyError:
            return
        if isinstance(event, Document):
            self._document = chunk
        elif chunk is not None:
            self._has_chunks = True
            self._assembly.add(chunk)


class FilteredRecorder:
    """A Filter that changes nothing and records what leaves the filters that stand behind an EventRecorder.

    As long as the filters hand on the very batches that came, it shares that recorder's data, so that most answers are
    put together once and not twice. Its own copy begins with the first batch that a filter changed.
    """

    takes_runs = True

    def __init__(self, before: EventRecorder) -> None:
        self._before = before
        self._passed: Batch | None = None
        self._own: EventRecorder | None = None

    def feed(self, batch: Batch) -> Batch:
        if self._own is None and batch is self._before.latest:
            self._passed = batch
            return batch
        return self._separate().feed(batch)

    def finish(self) -> Batch:
        return []

    def result(self) -> Json | None:
        """Return what passed so far as a document; None if nothing did."""
        is_same = self._own is None and (self._passed is self._before.latest or not self._before.latest)
        return self._before.result() if is_same else self._separate().result()

    def _separate(self) -> EventRecorder:
        """Return a recorder of its own, with what has passed here so far."""
        if self._own is None:
            self._own = self._before.copy_without_latest()
            if self._passed is not None and self._passed is self._before.latest:
                self._own.feed(self._passed)
        return self._own


class SizeAndUsageRecorder:
    """A Filter that changes nothing and records how many bytes pass, and the tokens they report."""

    takes_runs = True

    def __init__(self) -> None:
        self._size = 0
        self._usage: Json = {}
        self._meter = UsageMeter(self._set_usage)

    def feed(self, batch: Batch) -> Batch:
        self._size += sum([len(event.raw) for event in batch])
        return self._meter.feed(batch)

    def finish(self) -> Batch:
        return []

    def result(self) -> Json | None:
        """Return the number of bytes, and the tokens; None if nothing passed."""
        return {"bytes": self._size, **({"usage": self._usage} if self._usage else {})} if self._size else None

    def _set_usage(self, usage: Json) -> None:
        self._usage = usage


class ByteCounter:
    """Counts the bytes of a body that is not parsed."""

    def __init__(self) -> None:
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Count the next piece."""
        self._size += len(piece)

    def result(self) -> Json | None:
        """Return the number of bytes; None if there were none."""
        return {"bytes": self._size} if self._size else None


class ByteRecorder:
    """Records a body that goes through byte for byte: events, a document, or text."""

    def __init__(self, headers: Headers) -> None:
        is_stream = get_header(headers, "content-type").startswith("text/event-stream")
        is_plain = get_header(headers, "content-encoding", "identity").lower() == "identity"
        self._decoder = RunDecoder(MAX_RECORDED_BYTES) if is_stream and is_plain else None
        self._events = EventRecorder()
        self._is_plain = is_plain
        self._kept = bytearray()
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Record the next piece."""
        self._size += len(piece)
        if self._size > MAX_RECORDED_BYTES or not self._is_plain:
            self._kept.clear()
        elif self._decoder is None:
            self._kept += piece
        else:
            self._events.feed(self._decoder.feed(piece))

    def result(self) -> Json | None:
        """Return what passed so far: a document, else its text or its size."""
        if self._decoder is not None and self._size <= MAX_RECORDED_BYTES:
            return self._events.result()
        if not self._kept:
            return {"bytes": self._size} if self._size else None
        try:
            value = loads(bytes(self._kept))
        except JsonError:
            value = None
        return value if isinstance(value, dict) else {"text": self._kept.decode("utf-8", "replace")}
