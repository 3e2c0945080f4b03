"""Find where a client's HTTP/1.1 request ends, in the bytes that have arrived so far.

This only decides whether a request is complete. Gunicorn's parser judges it afterwards; what looks odd counts as
complete, so that it is refused at once. A mistake here can't make two parsers disagree about where a request ends
(request smuggling), because what is forwarded is always what Gunicorn's parser found.
"""

from __future__ import annotations

import re
from enum import Enum

from argoproxy.errors import UpstreamProtocolError
from argoproxy.transport.framing import ChunkedReader, ContentLengthReader

#: Bytes that a head may have; bytes of a request line, as in Gunicorn's `limit_request_line`.
HEAD_LIMIT = 64 * 1024
LINE_LIMIT = 8190
#: Bytes of a body that are collected before a thread is asked to read the rest.
BODY_LIMIT = 1024 * 1024

_FIELD = re.compile(rb"\r\n(content-length|transfer-encoding|expect):[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_PROBE = re.compile(rb"(?:GET|HEAD) /(health/live|health/ready|health|metrics)[/? ]")


class RequestState(Enum):
    """How much of a request has arrived."""

    NOTHING = "no byte"
    HEAD = "a part of the head"
    BODY = "the head and a part of the body"
    LONG_HEAD = "a head over the limit"
    LONG_BODY = "the head and a part of a body that is not collected"
    READY = "the whole request"
    ODD = "a request that Gunicorn's parser refuses"


class RequestScanner:
    """Collects the bytes of one request, and those that follow it on the connection."""

    __slots__ = ("_body", "_body_size", "_kept", "_searched", "probe", "progress", "received")

    def __init__(self) -> None:
        self.progress = RequestState.NOTHING
        #: The path of a probe (`health/ready`, `metrics`); "" in other requests, and in those with a body.
        self.probe = ""
        #: Bytes that have arrived, whether or not they are kept.
        self.received = 0
        #: One buffer, not a list of pieces: a client that sends two bytes at a time would make each a list's element,
        #: which takes many times their memory.
        self._kept = bytearray()
        self._searched = 0
        self._body: ChunkedReader | ContentLengthReader | None = None
        self._body_size = 0

    def __len__(self) -> int:
        """Return the number of bytes that are kept."""
        return len(self._kept)

    def feed(self, piece: bytes) -> RequestState:
        """Add bytes of the connection, and return how much of the request has arrived."""
        self._kept += piece
        return self.follow(piece)

    def follow(self, piece: bytes) -> RequestState:
        """Count bytes without keeping them, as of a body that a thread reads; return how much of the request has
        arrived."""
        self.received += len(piece)
        if self._body is None:
            self.progress = self._look_for_head()
        else:
            self.progress = self._follow_body(self._body, piece)
        return self.progress

    def skip(self, whole: bytes) -> RequestState:
        """Count a request that came whole, is no probe, and need not be kept; return how much of it has arrived."""
        self.received = len(whole)
        self.progress = RequestState.READY
        return self.progress

    def take(self) -> bytes:
        """Return the bytes that were kept, and drop them."""
        kept = bytes(self._kept)
        self._kept = bytearray()
        return kept

    def _look_for_head(self) -> RequestState:
        buffer = self._kept
        searched, self._searched = self._searched, len(buffer)
        end = buffer.find(b"\r\n\r\n", max(0, searched - 3))
        if end < 0:
            return self._judge_part_of_head(searched)
        if end > HEAD_LIMIT:
            return RequestState.LONG_HEAD
        fields = [(name.lower(), value) for name, value in _FIELD.findall(buffer, 0, end + 2)]
        if fields:
            return self._begin_body(fields, bytes(buffer[end + 4 :]))
        self.probe = find_probe(buffer)
        return RequestState.READY

    def _judge_part_of_head(self, searched: int) -> RequestState:
        """Return ODD for what no later byte can mend: a long request line, a line feed without a carriage return.
        Gunicorn refuses both before the head is whole."""
        buffer = self._kept
        if _BARE_LINE_FEED.search(buffer, searched):
            return RequestState.ODD
        if len(buffer) > LINE_LIMIT and buffer.find(b"\r\n", 0, LINE_LIMIT + 2) < 0:
            return RequestState.ODD
        return RequestState.LONG_HEAD if len(buffer) > HEAD_LIMIT else RequestState.HEAD

    def _begin_body(self, fields: list[tuple[bytes, bytes]], arrived: bytes) -> RequestState:
        lengths = [value.rstrip(b" \t") for name, value in fields if name == b"content-length"]
        codings = [value.rstrip(b" \t").lower() for name, value in fields if name == b"transfer-encoding"]
        if codings and not lengths and codings[-1].endswith(b"chunked"):
            self._body = ChunkedReader()
        elif len(lengths) == 1 and not codings and _LENGTH.fullmatch(lengths[0]):
            self._body_size = int(lengths[0])
            self._body = ContentLengthReader(self._body_size)
        else:
            return RequestState.ODD
        progress = self._follow_body(self._body, arrived)
        # With `Expect` the client waits for "100 Continue", which Gunicorn sends when the body is read: in a thread.
        is_waiting = len(fields) > len(lengths) + len(codings) and progress is RequestState.BODY
        return RequestState.LONG_BODY if is_waiting else progress

    def _follow_body(self, body: ChunkedReader | ContentLengthReader, piece: bytes) -> RequestState:
        try:
            if piece:
                body.feed(piece)
        except UpstreamProtocolError:
            return RequestState.ODD
        if body.done:
            return RequestState.READY
        is_long = (
            self.progress is RequestState.LONG_BODY or max(self._body_size, len(self._kept) - HEAD_LIMIT) > BODY_LIMIT
        )
        return RequestState.LONG_BODY if is_long else RequestState.BODY


def find_probe(head: bytes | bytearray) -> str:
    """Return the path of a probe, "" if the head is of another request."""
    probe = _PROBE.match(head)
    return probe[1].decode() if probe else ""
