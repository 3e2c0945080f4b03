"""What an upstream sent back: its head is here, its body arrives."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from argoproxy.errors import ClientGone, ProxyError, UpstreamProtocolError, UpstreamTimeout
from argoproxy.protocol.access.header_rules import ENTITY_HEADERS
from argoproxy.protocol.access.secrets import Redactor
from argoproxy.protocol.http_messages import drop_unsendable, get_header, without
from argoproxy.protocol.stream.sse import check_reply_size
from argoproxy.transport.exchange import Source
from argoproxy.transport.framing import Decompressor

IDENTITY = "identity"
#: How long a stream that has told its end may take to end its body, so that its connection can be kept.
SETTLE_S = 0.05


class Reply:
    """What an upstream sent back: its head is here, its body arrives. A body that could hide a secret in its content
    coding is given without it."""

    def __init__(self, status: int, source: Source, tick_s: float, stars: Redactor) -> None:
        headers = drop_unsendable((name, stars.text(value)) for name, value in source.headers)
        self._coding = get_header(headers, "content-encoding").strip().lower() or IDENTITY
        self._hides = bool(stars) and self._coding != IDENTITY
        self.status = status
        self.headers = without(headers, ENTITY_HEADERS) if self._hides else headers
        self._source = source
        self._tick_s = tick_s
        self._stars = stars
        self._arrived = 0

    def iter_raw(self) -> Iterator[bytes]:
        """Give the body as it arrives, in its content coding; b"" is a moment of silence."""
        return self.iter_bytes() if self._hides else self._stars.over(self._arriving())

    def iter_bytes(self) -> Iterator[bytes]:
        """Give the body as it arrives, content coding taken away; b"" comes in silence, and now and then where bytes
        may come that say nothing to the client."""
        arriving = self._arriving()
        return self._stars.over(arriving if self._coding == IDENTITY else self._inflated(arriving))

    def read(self) -> bytes:
        """Take the whole body, content coding taken away. Raises ProxyError, ClientGone."""
        parts, size = [], 0
        for piece in self.iter_bytes():
            parts.append(piece)
            size += len(piece)
            check_reply_size(size)
        return b"".join(parts)

    def read_error_body(self) -> bytes:
        """Take the body of an error, whose status counts even when its body breaks. Raises ClientGone."""
        try:
            return self.read()
        except ProxyError:
            return b""

    def release_when_done(self) -> None:
        """Let go of a reply that said all it had to: its connection is kept if the body ends at once."""
        until = time.monotonic() + SETTLE_S
        try:
            while not self._source.done and (left_s := until - time.monotonic()) > 0:
                self._source.take(left_s)
        except (ProxyError, ClientGone):
            pass
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()

    def _arriving(self) -> Iterator[bytes]:
        source, tick_s, ticked = self._source, self._tick_s, time.monotonic()
        try:
            while not source.done:
                piece = source.take(tick_s)
                if piece:
                    self._arrived += len(piece)
                    yield piece
                if piece is None or time.monotonic() - ticked >= tick_s:
                    ticked = time.monotonic()
                    yield b""
        except (UpstreamProtocolError, UpstreamTimeout) as error:
            raise self._telling_how_much_came(error) from None

    def _inflated(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        inflate = Decompressor(self._coding)
        for piece in pieces:
            if piece:
                yield from inflate.feed(piece)
            else:
                yield piece
        try:
            inflate.end()
        except ProxyError as error:
            raise self._telling_how_much_came(error) from None

    def _telling_how_much_came(self, error: ProxyError) -> ProxyError:
        error.message = f"{error.message.removesuffix('.')}, after {self._arrived} bytes of its body."
        return error
