"""Requests with a plainly regular head: read in one look, their environ made in one pass, answered in one send.

Gunicorn's parser takes some 60 us for a head of eight fields, and as many again to make the WSGI environ of it. It
stays the one that decides what is valid: only a request is taken here whose head matches one strict pattern, whose
fields need no judgement, and whose body is complete. All others go to Gunicorn's parser as they came.
`tests/workers/test_plain_request.py` compares what both make of the same bytes.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import TOKEN_RE, Request
from gunicorn.http.parser import RequestParser

#: Bytes of the longest head that is taken; Gunicorn's limits of lines and fields must not be lower.
HEAD_LIMIT = 4096
#: Visible ASCII only. A path without escapes, which need no decoding, and without a second slash at its start, where it
#: would look like a host; names without underscores, which Gunicorn refuses. All repetitions are possessive (`++`): the
#: time is linear in the length.
_HEAD = re.compile(
    rb"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) ((?!//)(/[\w.~:@+,;=/-]*+)(?:\?([\w.~:@+,;=/%&-]*+))?) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]{1,64}+:\x20*+[!-~]++(?:\x20++[!-~]++)*+\r\n)++)\r\n",
    re.ASCII,
)
_LENGTH = re.compile(r"[0-9]{1,15}")
#: Fields that Gunicorn acts on in ways that are left to it.
_LEFT_TO_GUNICORN = frozenset(("EXPECT", "TRANSFER-ENCODING", "UPGRADE", "HTTP2-SETTINGS"))
#: Fields that a request may have once.
_SINGLE = frozenset(("HOST", "CONTENT-TYPE", "CONTENT-LENGTH"))

#: Bytes that are read of a connection at a time.
PIECE = 64 * 1024
#: Bytes of a piece that is copied behind its head or into its chunk, which costs less than a second send.
JOINED_LIMIT = 64 * 1024
#: Variables of an environ which belong to one request; all others are the same for all requests of a connection.
_OF_REQUEST = frozenset(
    (
        *("REQUEST_METHOD", "RAW_URI", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH"),
        *("wsgi.input", "wsgi.url_scheme", "wsgi.early_hints"),
    )
)
_UNPREFIXED = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}


@dataclass(slots=True)
class PlainHead:
    """The head of a plain request, and its body."""

    #: All bytes of the request, for Gunicorn's parser.
    data: bytes
    method: str
    uri: str
    path: str
    query: str
    #: Names in upper case, as Gunicorn's parser gives them.
    fields: list[tuple[str, str]]
    body: bytes


def read_plain(data: bytes) -> PlainHead | None:
    """Return the request that `data` is; None unless it is plain, complete, and all there is."""
    match = _HEAD.match(data, 0, HEAD_LIMIT)
    if match is None:
        return None
    method, uri, path, query, lines = match.groups(b"")
    fields, seen, length = [], set(), 0
    for line in lines.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.upper(), value.lstrip(" ")
        if name in _SINGLE:
            if name in seen:
                return None
            seen.add(name)
            if name == "CONTENT-LENGTH":
                if not _LENGTH.fullmatch(value):
                    return None
                length = int(value)
        elif name in _LEFT_TO_GUNICORN:
            return None
        fields.append((name, value))
    end = match.end()
    if len(data) - end != length:
        return None
    return PlainHead(data, method.decode(), uri.decode(), path.decode(), query.decode(), fields, data[end:])


class PlainRequest(Request):  # type: ignore[misc]
    """A plain request as Gunicorn's parser would give it."""

    version = (1, 1)
    fragment = ""
    must_close = False
    proxy_protocol_info = None
    scheme = "http"

    def __init__(self, parser: PlainParser, head: PlainHead) -> None:
        self.cfg = parser.cfg
        self.unreader = parser.unreader
        self.peer_addr = self.remote_addr = parser.source_addr
        self.req_number = parser.req_count
        self.method, self.uri, self.path, self.query = head.method, head.uri, head.path, head.query
        self.headers = head.fields
        self.trailers: list[tuple[str, str]] = []
        self.body = Body(LengthReader(self.unreader, 0))
        self.body.buf.write(head.body)

    def is_read(self) -> bool:
        """Return whether nothing of the body is left."""
        return not self.body.buf.tell()


class PlainParser(RequestParser):  # type: ignore[misc]
    """Gunicorn's parser of a connection, which takes plain requests as they were read."""

    _head: PlainHead | None = None

    def __init__(self, cfg: Any, source: Any, source_addr: Any) -> None:
        super().__init__(cfg, source, source_addr)
        self._most_fields = cfg.limit_request_fields if _takes_plain(cfg) else 0
        self._scheme_headers: dict[str, str] | None = None

    def expect(self, head: PlainHead) -> None:
        """Have `next` return this request."""
        if len(head.fields) > self._most_fields:
            self.unreader.unread(head.data)
        else:
            self._head = head

    def __next__(self) -> Any:
        head, self._head = self._head, None
        if head is None:
            return super().__next__()
        self.req_count += 1
        request = PlainRequest(self, head)
        if self._scheme_headers is None:
            self._scheme_headers = request._peer_trusted_for_forwarded()[0]  # noqa: SLF001
        schemes = self._scheme_headers
        named = {value == schemes[name] for name, value in head.fields if name in schemes}
        if len(named) > 1:  # they contradict each other, which Gunicorn refuses
            self.unreader.unread(head.data)
            return super().__next__()
        if True in named:
            request.scheme = "https"
        self.mesg = request
        return request

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> Any:
        """Discard what is left of a body; return whether the connection can be kept."""
        if isinstance(self.mesg, PlainRequest) and self.mesg.is_read():
            return True
        return super().finish_body(deadline, max_bytes)


def _takes_plain(cfg: Any) -> bool:
    """Return whether no setting of Gunicorn's has a plain request refused or read differently."""
    line, field = cfg.limit_request_line, cfg.limit_request_field_size
    return (
        cfg.proxy_protocol == "off"
        and not os.environ.get("SCRIPT_NAME")
        and not 0 < line < HEAD_LIMIT
        and not 0 < field < HEAD_LIMIT
    )


class EnvironMaker:
    """Makes the environs of a connection's plain requests, with what Gunicorn would put into them."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any) -> None:
        self._cfg, self._sock, self.client, self.server = cfg, sock, client, server
        self._common: dict[str, Any] | None = None

    def make(self, request: PlainRequest, response: PlainResponse) -> dict[str, Any]:
        """Return the environ of a request."""
        if self._common is None:
            return self._learn(request, response)
        environ = self._common.copy()
        for name, value in request.headers:
            variable = _variable(name)
            environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
        environ["wsgi.input"] = request.body
        environ["REQUEST_METHOD"] = request.method
        environ["QUERY_STRING"] = request.query
        environ["RAW_URI"] = request.uri
        environ["PATH_INFO"] = request.path
        environ["wsgi.url_scheme"] = request.scheme
        environ["wsgi.early_hints"] = wsgi._make_early_hints_callback(request, self._sock, response)  # noqa: SLF001
        return environ

    def _learn(self, request: PlainRequest, response: PlainResponse) -> dict[str, Any]:
        """Have Gunicorn make the environ, and keep what is common to all requests of the connection. At a Unix socket
        nothing is kept: the name of the server is taken from the Host field there."""
        address = (self._sock, self.client, self.server, self._cfg)
        environ: dict[str, Any]
        _, environ = wsgi.create(request, *address, response_class=lambda *_: response)
        environ["wsgi.multithread"] = True
        environ["wsgi.errors"] = LateErrors(self._cfg)
        if not isinstance(self.server, str):
            self._common = {
                name: value
                for name, value in environ.items()
                if name not in _OF_REQUEST and not name.startswith("HTTP_")
            }
        return environ


class LateErrors:
    """`wsgi.errors`, with Gunicorn's stream made when it is used: rarely, and after its log files may have changed."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(wsgi.WSGIErrorsWrapper(self._cfg), name)


class PlainResponse(wsgi.Response):  # type: ignore[misc]
    """Gunicorn's response, with its head and the first piece of its body in one send."""

    headers_sent: bool

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Check the fields, and keep those which are sent."""
        for field in headers:
            name, value = field
            if type(name) is type(value) is str and _is_ordinary(name) and wsgi.HEADER_VALUE_RE.fullmatch(value):
                self.headers.append((name, value.strip(" \t")))
            else:
                super().process_headers([field])

    def default_headers(self) -> list[str]:
        """Return the lines of the head that are not the application's."""
        connection = "upgrade" if self.upgrade else "close" if self.should_close() else "keep-alive"
        lines = [f"HTTP/1.1 {self.status}\r\nServer: {self.version}\r\nDate: {_date(int(time.time()))}\r\n"]
        lines.append(f"Connection: {connection}\r\n")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def write(self, arg: bytes) -> None:
        """Send a piece of the body, behind the head if that was not sent yet."""
        if type(arg) is not bytes or not 0 < len(arg) <= JOINED_LIMIT or self._omits_body:
            super().write(arg)
            return
        piece = arg
        if self.chunked:
            piece = b"%X\r\n%b\r\n" % (len(arg), arg)
        elif self.response_length is not None:
            left = self.response_length - self.sent
            if left <= 0:
                super().write(arg)
                return
            piece = arg = arg[:left]
        if not self.headers_sent:
            piece = self._head() + piece
        self.sent += len(arg)
        self.sock.sendall(piece)
        self.headers_sent = True

    def _head(self) -> bytes:
        lines = self.default_headers()
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")


@lru_cache(maxsize=512)
def _variable(name: str) -> str:
    """Return the variable that a field is in; `name` is in upper case and has no underscore."""
    return _UNPREFIXED.get(name) or f"HTTP_{name.replace('-', '_')}"


@lru_cache(maxsize=512)
def _is_ordinary(name: str) -> bool:
    """Return whether a field is sent as it is: neither malformed, nor of the connection, nor the length."""
    return bool(TOKEN_RE.fullmatch(name)) and not util.is_hoppish(name) and name.lower() != "content-length"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return a time as a Date field gives it."""
    return str(util.http_date(second))
