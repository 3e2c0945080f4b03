"""What a reply begins with: a document or a stream, whatever was asked for and whatever its head says."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum, auto

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.stream.sse import Batch, check_reply_size

#: Some servers send blank lines while they think.
BLANKS_LIMIT = 64 * 1024

_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")


class Form(Enum):
    """What a reply is."""

    DOCUMENT = auto()
    STREAM = auto()


def opened(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Take what is needed to tell a document from a stream: blanks, and the first bytes behind them. Raises
    UpstreamProtocolError over BLANKS_LIMIT."""
    taken, first = bytearray(), b""
    for piece in pieces:
        taken += piece
        first = _beginning(first + piece)
        if not _is_undecided(first):
            break
        if len(taken) > BLANKS_LIMIT:
            raise UpstreamProtocolError("The upstream sent too many blanks before its reply.")
        if not piece:
            yield []
    return bytes(taken)


def form_of(start: bytes, headers: Headers) -> Form:
    """Tell what begins like this. Raises UpstreamProtocolError when it is neither."""
    first = _beginning(start)
    if first[:1] in (b"{", b"["):
        return Form.DOCUMENT
    if first.startswith(_FIELDS) or get_header(headers, "content-type").lower().startswith("text/event-stream"):
        return Form.STREAM
    if first:
        raise UpstreamProtocolError("The upstream's reply is neither JSON nor an event stream.")
    raise UpstreamProtocolError("The upstream's reply is empty.")


def gathered(pieces: Iterator[bytes]) -> Generator[Batch, None, bytes]:
    """Take a document whole; only silence gives the client a head before it is known to be one. Raises
    UpstreamProtocolError over DOCUMENT_LIMIT."""
    parts, size = [], 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        check_reply_size(size)
        if not piece:
            yield []
    return b"".join(parts).removeprefix(_BOM)


def _beginning(start: bytes) -> bytes:
    """Give what stands behind the blanks."""
    return start.removeprefix(_BOM).lstrip(_BLANK)


def _is_undecided(first: bytes) -> bool:
    """Whether more is needed to tell a document from a stream."""
    return _BOM.startswith(first) or any(name.startswith(first) and name != first for name in _FIELDS)
