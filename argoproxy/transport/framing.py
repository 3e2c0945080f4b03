"""The body of an HTTP/1.1 message: where it ends, and what of the bytes is body (RFC 9112 sections 6 and 7).

Each reader is fed what has arrived, in any cut, and returns the body bytes in it. If bytes follow the end, `surplus` is
set: their connection must not be used again. The body is read here and not by http.client, which would have to be asked
for as many bytes as it may hold in its buffers: more code, and slower.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers, list_members, without

LINE_LIMIT = 64 * 1024
INFLATED_PIECE = 256 * 1024

#: The digits of a chunk's size, where chunks are taken many at a time.
_LONGEST_SIZE = 8
_HEX = b"0123456789abcdefABCDEF"
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_LENGTH = frozenset(("content-length",))


def is_chunked(headers: Headers) -> bool:
    """Return whether a head announces chunks. Raises UpstreamProtocolError for any other transfer coding."""
    codings = [coding for coding in list_members(headers, "transfer-encoding") if coding != "identity"]
    if codings not in ([], ["chunked"]):
        raise UpstreamProtocolError("The upstream used a transfer coding other than chunked.")
    return bool(codings)


def content_length(headers: Headers) -> int | None:
    """Return the Content-Length of a head, None without one; the same one twice counts once (RFC 9110 section 8.6).

    Raises UpstreamProtocolError for an invalid one, or for two that differ.
    """
    first, *others = list_members(headers, "content-length") or (None,)
    if first is None:
        return None
    if not _LENGTH.fullmatch(first) or others.count(first) < len(others):
        raise UpstreamProtocolError("The upstream sent an invalid Content-Length.")
    return int(first)


def normalize_length(headers: Headers) -> Headers:
    """Return a head's fields with at most one Content-Length, and none beside chunks (RFC 9112 section 6.3)."""
    others = without(headers, _CONTENT_LENGTH)
    if is_chunked(headers) or len(others) == len(headers):
        return others
    return (*others, ("Content-Length", str(content_length(headers))))


class BodyReader(Protocol):
    """Finds the end of a body, by one of the ways to delimit it."""

    done: bool
    surplus: bool

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the connection, return those of the body. Raises UpstreamProtocolError."""

    def end(self) -> None:
        """Take the end of the connection. Raises UpstreamProtocolError when the body is not whole."""


class ContentLengthReader:
    """Reads a body of a known number of bytes."""

    __slots__ = ("_left", "done", "surplus")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        self.surplus = len(data) > self._left
        data = data[: self._left] if self.surplus else data
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def end(self) -> None:
        if not self.done:
            raise cut_short_error()


class UntilCloseReader:
    """Reads a body that ends with its connection."""

    __slots__ = ("done", "surplus")

    def __init__(self) -> None:
        self.done = self.surplus = False

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class ChunkedReader:
    """Reads a body in chunks, each behind a line with its size; skips extensions and trailers."""

    __slots__ = ("_left", "_line", "_next", "_trailers", "done", "surplus")

    def __init__(self) -> None:
        self.done = self.surplus = False
        self._left = 0
        self._line = b""
        self._next = ChunkedReader._size
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        if self._line:
            data, self._line = self._line + data, b""
        parts, at, end = [], 0, len(data)
        while at < end and not self.done:
            if self._left:
                parts.append(data[at : at + self._left])
                taken = len(parts[-1])
                self._left -= taken
                at += taken
                continue
            if self._next is ChunkedReader._size:
                at = _take_whole(data, at, parts)
                if at == end:
                    break
            line_end = data.find(b"\n", at)
            if line_end < 0:
                self._keep(data[at:])
                break
            self._next(self, data[at:line_end].removesuffix(b"\r"))
            at = line_end + 1
        self.surplus = self.done and at < end
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self) -> None:
        if not self.done:
            raise cut_short_error()

    def _size(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip(b" \t")
        if not size or len(size) > 16 or size.strip(_HEX):
            raise UpstreamProtocolError("The upstream sent a broken chunk.")
        self._left = int(size, 16)
        self._next = ChunkedReader._data_end if self._left else ChunkedReader._trailer

    def _data_end(self, line: bytes) -> None:
        if line:
            raise UpstreamProtocolError("The upstream sent a broken chunk.")
        self._next = ChunkedReader._size

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > LINE_LIMIT:
            raise UpstreamProtocolError("The upstream sent too long a trailer.")
        self.done = not line

    def _keep(self, line: bytes) -> None:
        if len(line) > LINE_LIMIT or (self._next is ChunkedReader._data_end and line != b"\r"):
            raise UpstreamProtocolError("The upstream sent a broken chunk.")
        self._line = line


def _take_whole(data: bytes, at: int, parts: list[bytes]) -> int:
    """Append the data of whole chunks that stand one after the other; return where anything else begins: each event of
    a stream is usually a chunk of its own, and many arrive together."""
    last_line, size = b"", 0
    while 0 < (line_end := data.find(b"\r\n", at)) - at <= _LONGEST_SIZE:
        line = data[at:line_end]
        if line != last_line:
            last_line, size = line, _plain_size(line)
        stop = line_end + 2 + size
        if not size or data[stop : stop + 2] != b"\r\n":
            break
        parts.append(data[line_end + 2 : stop])
        at = stop + 2
    return at


@lru_cache(maxsize=1024)
def _plain_size(line: bytes) -> int:
    """Return the size in a line that holds nothing else; 0 for any other line, and for the last chunk."""
    return 0 if line.strip(_HEX) else int(line, 16)


class Decompressor:
    """Removes gzip or deflate (RFC 9110 section 8.4.1), in pieces of bounded size."""

    def __init__(self, coding: str) -> None:
        """Raises UpstreamProtocolError for any other coding."""
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise UpstreamProtocolError(f"The upstream used a content coding that was not requested: {coding[:40]}.")
        self._gzip = coding != "deflate"
        self._inner: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes hold. Raises UpstreamProtocolError when they are broken."""
        while data:
            if self._inner is None or self._inner.eof:
                # gzip may consist of several members (RFC 1952 section 2.2); other bytes behind the end are padding.
                if self._inner is not None and not (self._gzip and data[0] == 0x1F):
                    return
                self._inner = zlib.decompressobj(self._window_bits(data))
            yield from self._inflate(self._inner, data)
            data = self._inner.unused_data

    def end(self) -> None:
        """Take the end of the body. Raises UpstreamProtocolError when the compressed data is not whole."""
        if self._inner is not None and not self._inner.eof:
            raise cut_short_error()

    def _window_bits(self, data: bytes) -> int:
        if self._gzip:
            return zlib.MAX_WBITS | 16
        # "deflate" is zlib's format, but some servers send the raw data without its header (RFC 9110 section 8.4.1.2).
        has_zlib_header = data[0] & 0x0F == 8
        return zlib.MAX_WBITS if has_zlib_header else -zlib.MAX_WBITS

    @staticmethod
    def _inflate(inner: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        full = True
        while full or data:
            try:
                inflated = inner.decompress(data, INFLATED_PIECE)
            except zlib.error:
                raise UpstreamProtocolError("The upstream sent a broken compressed body.") from None
            data = inner.unconsumed_tail
            full = len(inflated) == INFLATED_PIECE
            if inflated:
                yield inflated


def cut_short_error() -> UpstreamProtocolError:
    """Return the error for a message that ended too early."""
    return UpstreamProtocolError("The upstream's reply was cut short.", code="upstream_reply_cut_short")
