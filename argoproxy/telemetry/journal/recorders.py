"""What is heard of an answer on its way, put together to one document for the journal: nothing is changed by it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from argoproxy.errors import ProxyError
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.protocol.stream.assembly import CompletionAssembler
from argoproxy.protocol.stream.chunk_fields import UsageMeter
from argoproxy.protocol.stream.sse import Batch, Document, EventDecoder

#: What is longer is not remembered for the journal.
LONGEST_HEARD = 32 * 1024 * 1024


class EventRecorder:
    """A Filter that only looks: it puts together what passes, a document or chunks. The latest batch is put in when the
    next one comes, so that who listens behind it can still tell what was there before."""

    def __init__(self) -> None:
        self.latest: Batch = []
        self._assembly = CompletionAssembler()
        self._document: Json | None = None
        self._size = 0
        self._hears_chunks = False

    def feed(self, batch: Batch) -> Batch:
        self._put_in()
        self.latest = batch
        return batch

    def finish(self) -> Batch:
        return []

    def heard(self) -> Json | None:
        """Give what was heard so far as a document; None where there was nothing."""
        self._put_in()
        if self._size > LONGEST_HEARD:
            return {"bytes": self._size}
        if self._document is not None:
            return self._document
        return self._assembly.document() if self._hears_chunks else None

    def before(self) -> EventRecorder:
        """Give an ear of its own that has heard what this one had before the latest batch."""
        other = EventRecorder()
        other._assembly, other._document = deepcopy(self._assembly), self._document
        other._size, other._hears_chunks = self._size, self._hears_chunks
        return other

    def _put_in(self) -> None:
        batch, self.latest = self.latest, []
        for event in batch:
            self._size += len(event.raw)
            if self._size <= LONGEST_HEARD:
                self._hear(event)

    def _hear(self, event: Any) -> None:
        try:
            chunk = event.chunk
        except ProxyError:
            return
        if isinstance(event, Document):
            self._document = chunk
        elif chunk is not None:
            self._hears_chunks = True
            self._assembly.add(chunk)


class FilteredRecorder:
    """A Filter that only looks, behind the filters that another ear stands before: as long as they change nothing, what
    comes here is what that one has heard, and is put together once for both."""

    def __init__(self, first: EventRecorder) -> None:
        self._first = first
        self._passed: Batch | None = None
        self._own: EventRecorder | None = None

    def feed(self, batch: Batch) -> Batch:
        if self._own is None and batch is self._first.latest:
            self._passed = batch
            return batch
        return self._apart().feed(batch)

    def finish(self) -> Batch:
        return []

    def heard(self) -> Json | None:
        """Give what was heard so far as a document; None where there was nothing."""
        has_all = self._own is None and (self._passed is self._first.latest or not self._first.latest)
        return self._first.heard() if has_all else self._apart().heard()

    def _apart(self) -> EventRecorder:
        """Give an ear of its own, with what has passed here so far."""
        if self._own is None:
            self._own = self._first.before()
            if self._passed is not None and self._passed is self._first.latest:
                self._own.feed(self._passed)
        return self._own


class SizeAndUsageRecorder:
    """A Filter that only looks: how many bytes pass, and the tokens they tell of."""

    def __init__(self) -> None:
        self._size = 0
        self._usage: Json = {}
        self._meter = UsageMeter(self._note)

    def feed(self, batch: Batch) -> Batch:
        self._size += sum([len(event.raw) for event in batch])
        return self._meter.feed(batch)

    def finish(self) -> Batch:
        return []

    def heard(self) -> Json | None:
        """Give the number of bytes, and the tokens; None where there was nothing."""
        return {"bytes": self._size, **({"usage": self._usage} if self._usage else {})} if self._size else None

    def _note(self, usage: Json) -> None:
        self._usage = usage


class ByteCounter:
    """Counts bytes, whatever they say."""

    def __init__(self) -> None:
        self._size = 0

    def hear(self, piece: bytes) -> None:
        """Take the next piece."""
        self._size += len(piece)

    def heard(self) -> Json | None:
        """Give how many bytes came; None where there were none."""
        return {"bytes": self._size} if self._size else None


class ByteRecorder:
    """Listens to bytes that nobody reads on their way: events, a document, or text."""

    def __init__(self, headers: Headers) -> None:
        is_stream = get_header(headers, "content-type").startswith("text/event-stream")
        is_plain = get_header(headers, "content-encoding", "identity").lower() == "identity"
        self._decoder = EventDecoder(LONGEST_HEARD) if is_stream and is_plain else None
        self._events = EventRecorder()
        self._is_plain = is_plain
        self._kept = bytearray()
        self._size = 0

    def hear(self, piece: bytes) -> None:
        """Take the next piece."""
        self._size += len(piece)
        if self._size > LONGEST_HEARD or not self._is_plain:
            self._kept.clear()
        elif self._decoder is None:
            self._kept += piece
        else:
            self._events.feed(self._decoder.feed(piece))

    def heard(self) -> Json | None:
        """Give what was heard so far: a document, else its text or its size."""
        if self._decoder is not None and self._size <= LONGEST_HEARD:
            return self._events.heard()
        if not self._kept:
            return {"bytes": self._size} if self._size else None
        try:
            value = loads(bytes(self._kept))
        except JsonError:
            value = None
        return value if isinstance(value, dict) else {"text": self._kept.decode("utf-8", "replace")}
