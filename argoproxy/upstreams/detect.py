"""Detect whether a reply is a document or an event stream by how its body begins.

Neither the request nor the Content-Type decides: some servers send a document to a stream request or the other way
round, or a stream as `text/plain`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum, auto

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.stream.sse import Batch, check_reply_size

#: Some servers send blank lines to keep the connection open before a reply.
BLANKS_LIMIT = 64 * 1024

_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")


class Form(Enum):
    """The form of a reply."""

    DOCUMENT = auto()
    STREAM = auto()


def read_start(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Return the beginning of a body, as far as detect_form needs it. Raises UpstreamProtocolError if more than
    BLANKS_LIMIT bytes of blanks come first."""
    start, first = bytearray(), b""
    for piece in pieces:
        start += piece
        first = _strip_blanks(first + piece)
        if not _is_undecided(first):
            break
        if len(start) > BLANKS_LIMIT:
            raise UpstreamProtocolError("The upstream sent too many blank lines before its reply.")
        if not piece:
            yield []
    return bytes(start)


def detect_form(start: bytes, headers: Headers) -> Form:
    """Return the form of a body that begins like this. Raises UpstreamProtocolError if it is neither."""
    first = _strip_blanks(start)
    if first[:1] in (b"{", b"["):
        return Form.DOCUMENT
    if first.startswith(_FIELDS) or get_header(headers, "content-type").lower().startswith("text/event-stream"):
        return Form.STREAM
    if first:
        raise UpstreamProtocolError("The upstream's reply is neither JSON nor an event stream.")
    raise UpstreamProtocolError("The upstream's reply is empty.")


def read_document(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Return the whole body. Yields an empty batch when nothing arrives for a moment. Raises UpstreamProtocolError over
    DOCUMENT_LIMIT."""
    parts, size = [], 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        check_reply_size(size)
        if not piece:
            yield []
    return b"".join(parts).removeprefix(_BOM)


def _strip_blanks(start: bytes) -> bytes:
    return start.removeprefix(_BOM).lstrip(_BLANK)


def _is_undecided(first: bytes) -> bool:
    """Tell whether more bytes are needed to detect the form."""
    if first[:1] == b"{":
        return False
    return _BOM.startswith(first) or any(name.startswith(first) and name != first for name in _FIELDS)
