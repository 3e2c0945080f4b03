"""What is heard of an answer on its way, put together to one document for the journal: nothing is changed by it."""

from __future__ import annotations

from typing import Any

from argoproxy.errors import ProxyError
from argoproxy.protocol.chunks import Assembly, Json
from argoproxy.protocol.exchange import Headers, header
from argoproxy.protocol.json_text import JsonError, loads
from argoproxy.protocol.sse import Batch, Decoder, Document

#: What is longer is not remembered for the journal.
LONGEST_HEARD = 32 * 1024 * 1024


class EventEar:
    """A Filter that only looks: it puts together what passes, a document or chunks."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._document: Json | None = None
        self._size = 0
        self._hears_chunks = False

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            self._size += len(event.raw)
            if self._size <= LONGEST_HEARD:
                self._hear(event)
        return batch

    def finish(self) -> Batch:
        return []

    def heard(self) -> Json | None:
        """Give what was heard so far as a document; None where there was nothing."""
        if self._size > LONGEST_HEARD:
            return {"bytes": self._size}
        if self._document is not None:
            return self._document
        return self._assembly.document() if self._hears_chunks else None

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


class SizeEar:
    """Counts bytes, whatever they say."""

    def __init__(self) -> None:
        self._size = 0

    def hear(self, piece: bytes) -> None:
        """Take the next piece."""
        self._size += len(piece)

    def heard(self) -> Json | None:
        """Give how many bytes came; None where there were none."""
        return {"bytes": self._size} if self._size else None


class ByteEar:
    """Listens to bytes that nobody reads on their way: events, a document, or text."""

    def __init__(self, headers: Headers) -> None:
        is_stream = header(headers, "content-type").startswith("text/event-stream")
        is_plain = header(headers, "content-encoding", "identity").lower() == "identity"
        self._decoder = Decoder(LONGEST_HEARD) if is_stream and is_plain else None
        self._events = EventEar()
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
