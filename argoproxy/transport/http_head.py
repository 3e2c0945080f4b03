"""The heads of HTTP/1.1 messages between proxy and upstream: write a request's, read a reply's (RFC 9112).

Pure: bytes in, data out, in any cut of the input. A head that two readers could read in two ways is refused; bare line
feeds and any minor version are accepted, as most clients do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers, get_header, list_members
from argoproxy.transport.framing import (
    BodyReader,
    ChunkedReader,
    ContentLengthReader,
    UntilCloseReader,
    content_length,
    cut_short_error,
    is_chunked,
)

LINE_LIMIT = 64 * 1024
MAX_FIELDS = 100
HEAD_LIMIT = MAX_FIELDS * LINE_LIMIT
#: RFC 9110 section 15: what is outside of 100 to 599 is invalid.
LAST_STATUS = 599
NO_BODY = frozenset((204, 304))

_BEGIN = b"HTTP/"
_STATUS_LINE = re.compile(r"HTTP/1\.([0-9])[ \t]+([0-9]{3})(?:[ \t].*)?")
#: Wider than a token (RFC 9110 section 5.1): fields with other characters in their name are dropped later, no error.
_NAME = re.compile(r"[!-9;-~]+")


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """The head of a reply; `keeps_open` tells whether the upstream leaves the connection open after the body."""

    status: int
    fields: Headers
    keeps_open: bool

    def body_reader(self, method: str) -> BodyReader:
        """Return what finds the end of the body (RFC 9112 section 6.3). Raises UpstreamProtocolError."""
        chunked, length = is_chunked(self.fields), content_length(self.fields)
        if self._has_no_body(method):
            return ContentLengthReader(0)
        if chunked:
            return ChunkedReader()
        return UntilCloseReader() if length is None else ContentLengthReader(length)

    def is_reusable(self, method: str) -> bool:
        """Return whether the connection can be used again after the body.

        A sloppy upstream sends the body that a head announces although the reply has none by its status (204, 304) or
        its method (HEAD), later than the connection is used again: it would be read as the reply to the next request.
        """
        if not self.keeps_open or not self._has_no_body(method):
            return self.keeps_open
        length = content_length(self.fields)
        if length is not None:
            return length == 0
        return not is_chunked(self.fields) and not get_header(self.fields, "content-type")

    def _has_no_body(self, method: str) -> bool:
        return method == "HEAD" or self.status in NO_BODY


class HeadReader:
    """Reads the heads of replies out of the bytes of a connection: interim ones, and the final one behind them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._has_valid_start = False

    @property
    def is_begun(self) -> bool:
        """Whether what has come can be a reply: a line, or a part of one that can be a status line. Other bytes at the
        end of a kept connection were sent after the reply before."""
        start = self._buffer[: len(_BEGIN)]
        return b"\n" in self._buffer or (bool(start) and _BEGIN.startswith(start))

    def feed(self, data: bytes) -> ReplyHead | None:
        """Take bytes; return a head as soon as it is complete. Raises UpstreamProtocolError."""
        self._buffer += data
        end, length = _find_end(self._buffer, self._searched)
        if end < 0:
            self._check_start()
            self._check_size()
            self._searched = max(0, len(self._buffer) - 2)
            return None
        text = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + length]
        self._searched, self._has_valid_start = 0, False
        return _parse(text)

    def end(self) -> NoReturn:
        """Take the end of the connection in place of a head. Raises UpstreamProtocolError."""
        if not self._buffer:
            raise UpstreamProtocolError(
                "The upstream closed the connection before it replied.", code="upstream_disconnected"
            )
        _parse_status_line(bytes(self._buffer[:LINE_LIMIT]).partition(b"\n")[0].decode("latin-1").removesuffix("\r"))
        raise cut_short_error()

    def take_rest(self) -> bytes:
        """Return what came after the head."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def _check_start(self) -> None:
        """Refuse another protocol by its first line: what speaks it may wait for us to go on."""
        if not self._has_valid_start:
            line, end, _ = bytes(self._buffer[:LINE_LIMIT]).partition(b"\n")
            if end:
                _parse_status_line(line.decode("latin-1").removesuffix("\r"))
                self._has_valid_start = True

    def _check_size(self) -> None:
        line = len(self._buffer) - self._buffer.rfind(b"\n")
        if line > LINE_LIMIT or len(self._buffer) > HEAD_LIMIT:
            raise UpstreamProtocolError("The upstream sent a head that is too long.")


def encode_request(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a request. Raises UpstreamProtocolError for a field that would break it."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    text = "\r\n".join(lines)
    if not text.count("\n") == text.count("\r") == len(lines) - 1 or not text.isascii():
        text = _checked_latin_1(lines)
    return f"{text}\r\n\r\n".encode("latin-1")


def _checked_latin_1(lines: list[str]) -> str:
    text = "".join(lines)
    if "\n" in text or "\r" in text or max(text) > "\xff":
        raise UpstreamProtocolError("A header of the request can't be sent to the upstream.")
    return "\r\n".join(lines)


def _find_end(data: bytearray, start: int) -> tuple[int, int]:
    """Return where the last line of a head ends, and the length of the ends of lines that follow; -1 where it goes
    on."""
    crlf = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, crlf if crlf >= 0 else len(data))
    return (bare, 2) if bare >= 0 else (crlf, 3)


def _parse(text: str) -> ReplyHead:
    text = text.removesuffix("\r")
    lines = text.split("\r\n")
    if not text.count("\n") == text.count("\r") == len(lines) - 1:
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        # Some servers end a line there, others don't: two readings of one head (RFC 9112 section 2.2).
        if any("\r" in line for line in lines):
            raise UpstreamProtocolError("The upstream sent a carriage return within a header line.")
    status, minor = _parse_status_line(lines[0])
    if len(lines) > MAX_FIELDS + 1:
        raise UpstreamProtocolError("The upstream sent a head that is too long.")
    fields = _parse_fields(lines)
    return ReplyHead(status, fields, _keeps_open(fields, minor))


def _parse_status_line(line: str) -> tuple[int, str]:
    """Return the status and the minor version of HTTP. Raises UpstreamProtocolError."""
    match = _STATUS_LINE.fullmatch(line)
    status = int(match[2]) if match else 0
    if match is None or status < 100:
        raise _invalid()
    if status > LAST_STATUS:
        raise UpstreamProtocolError("The upstream sent a status over 599.")
    return status, match[1]


def _parse_fields(lines: list[str]) -> Headers:
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and fields:
            # A folded line (RFC 9112 section 5.2). The break stays in the value, so that the field is dropped later
            # like others that can't be sent on, and not changed.
            fields[-1] = (fields[-1][0], f"{fields[-1][1]}\r\n{line}")
        elif not colon or not _NAME.fullmatch(name):
            raise UpstreamProtocolError("The upstream sent a malformed header.")
        elif len(line) > LINE_LIMIT:
            raise UpstreamProtocolError("The upstream sent a head that is too long.")
        else:
            fields.append((name, value.strip(" \t")))
    return tuple(fields)


def _keeps_open(fields: Headers, minor: str) -> bool:
    tokens = list_members(fields, "connection")
    if "close" in tokens:
        return False
    return minor != "0" or "keep-alive" in tokens


def _invalid() -> UpstreamProtocolError:
    return UpstreamProtocolError("The upstream sent something that is not a valid HTTP reply.")
