"""The reply of an upstream: its head has arrived, its body is still being received."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from argoproxy.errors import ClientGone, ProxyError, UpstreamProtocolError, UpstreamTimeout
from argoproxy.protocol.access.header_rules import ENTITY_HEADERS
from argoproxy.protocol.access.masking import Redactor
from argoproxy.protocol.http_messages import drop_unsendable, get_header, without
from argoproxy.protocol.stream.sse import check_reply_size
from argoproxy.transport.exchange import Source
from argoproxy.transport.framing import Decompressor

IDENTITY = "identity"
#: How long a body may take to end after its last event, so that its connection can be kept.
RELEASE_S = 0.05


class HttpReply:
    """The reply of an upstream. Where secrets are redacted, the content coding is removed: it could hide them."""

    def __init__(self, status: int, source: Source, tick_s: float, redactor: Redactor) -> None:
        headers = drop_unsendable((name, redactor.redact_text(value)) for name, value in source.headers)
        self._coding = get_header(headers, "content-encoding").strip().lower() or IDENTITY
        self._is_decoded = bool(redactor) and self._coding != IDENTITY
        self.status = status
        self.headers = without(headers, ENTITY_HEADERS) if self._is_decoded else headers
        self._source = source
        self._tick_s = tick_s
        self._redactor = redactor
        self._received = 0

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it arrives, in its content coding; b"" for each `tick_s` of silence."""
        return self.iter_bytes() if self._is_decoded else self._redactor.redact_stream(self._receive())

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decompressed; b"" about once per `tick_s`, also where bytes arrive: they may
        hold nothing for the client, which is to get a heartbeat then."""
        pieces = self._receive()
        return self._redactor.redact_stream(pieces if self._coding == IDENTITY else self._decompress(pieces))

    def read(self) -> bytes:
        """Return the whole body, decompressed. Raises ProxyError, ClientGone."""
        parts, size = [], 0
        for piece in self.iter_bytes():
            parts.append(piece)
            size += len(piece)
            check_reply_size(size)
        return b"".join(parts)

    def read_error_body(self) -> bytes:
        """Return the body of an error reply, b"" if it breaks: the status counts all the same. Raises ClientGone."""
        try:
            return self.read()
        except ProxyError:
            return b""

    def release_when_done(self) -> None:
        """Close a reply whose last event has come; its connection is kept if the body ends at once."""
        until = time.monotonic() + RELEASE_S
        try:
            while not self._source.done and (left_s := until - time.monotonic()) > 0:
                self._source.take(left_s)
        except (ProxyError, ClientGone):
            pass
        self.close()

    def close(self) -> None:
        """Release the connection."""
        self._source.close()

    def _receive(self) -> Iterator[bytes]:
        source, tick_s, ticked = self._source, self._tick_s, time.monotonic()
        try:
            while not source.done:
                piece = source.take(tick_s)
                if piece:
                    self._received += len(piece)
                    yield piece
                if piece is None or time.monotonic() - ticked >= tick_s:
                    ticked = time.monotonic()
                    yield b""
        except (UpstreamProtocolError, UpstreamTimeout) as error:
            raise self._with_size(error) from None

    def _decompress(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        decompressor = Decompressor(self._coding)
        for piece in pieces:
            if piece:
                yield from decompressor.feed(piece)
            else:
                yield piece
        try:
            decompressor.end()
        except ProxyError as error:
            raise self._with_size(error) from None

    def _with_size(self, error: ProxyError) -> ProxyError:
        error.message = f"{error.message.removesuffix('.')}, after {self._received} bytes of its body."
        return error
