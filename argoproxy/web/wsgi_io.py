"""Read a request from the WSGI environ, its body as it arrives, and send a response as it is produced."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from gunicorn.http.errors import ParseException

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    ClientTooSlow,
    Ending,
    PayloadTooLarge,
    ProxyError,
    RequestTimeout,
)
from argoproxy.pipeline.context import RequestContext
from argoproxy.protocol.http_messages import Headers
from argoproxy.transport.watch import Watch

PIECE = 64 * 1024
#: The variables of header fields whose names have no prefix (PEP 3333); empty ones stand for no field.
_UNPREFIXED = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}

_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)

#: The key in a WSGI environ of its start_response, for EarlyStart.
START_RESPONSE = "argoproxy.start_response"


class StartResponseMiddleware:
    """Puts start_response into the environ, where a view can find it: Flask shows it to responses only."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ[START_RESPONSE] = start_response
        return self._application(environ, start_response)


class WsgiBody:
    """The body of a request, read from the client as it arrives."""

    def __init__(self, environ: dict[str, Any], watch: Watch) -> None:
        self._input = environ["wsgi.input"]
        self._watch = watch
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        self.length: int | None = None if is_chunked else int(environ.get("CONTENT_LENGTH") or 0)

    def read(self, limit: int) -> bytes:
        """Read all of it. Raises PayloadTooLarge over `limit` bytes; BadRequest, ClientGone if it ends too early;
        RequestTimeout."""
        parts, size = [], self.length or 0
        if size <= limit:
            size = 0
            for piece in self.iter_bytes():
                parts.append(piece)
                size += len(piece)
                if size > limit:
                    break
        if size > limit:
            raise PayloadTooLarge(f"The request body is longer than {limit} bytes.")
        return b"".join(parts)

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield it as it arrives. Raises BadRequest, ClientGone if it ends too early; RequestTimeout."""
        remaining = self.length
        while remaining is None or remaining > 0:
            started = time.monotonic()
            try:
                piece = self._input.read(PIECE if remaining is None else min(PIECE, remaining))
            except ClientTooSlow:
                raise RequestTimeout("The body of the request did not arrive in time.") from None
            except (OSError, ParseException):
                raise self._broken() from None
            self._watch.add_wait_since(started)
            if not piece:
                break
            remaining = None if remaining is None else remaining - len(piece)
            yield piece
        if remaining:
            raise self._broken()

    def _broken(self) -> BadRequest:
        self._watch.check_client()
        return BadRequest("The connection ended before the whole request body had arrived.")


def read_headers(environ: Mapping[str, Any]) -> Headers:
    """Return the header fields of a request, in the order of the environ."""
    return tuple(
        [
            (name, value)
            for variable, value in environ.items()
            if (name := _header_name(variable)) and (value or variable not in _UNPREFIXED)
        ]
    )


@lru_cache(maxsize=512)
def _header_name(variable: str) -> str:
    """Return the name of the field that a variable of the environ holds; "" for any other variable."""
    if variable in _UNPREFIXED:
        return _UNPREFIXED[variable]
    name = variable.removeprefix("HTTP_")
    return "" if name == variable or name in _UNPREFIXED else name.replace("_", "-").title()


def read_raw_path(environ: dict[str, Any]) -> str:
    """Return the path of the request's target with its escapes unchanged; of an absolute URL, the path only."""
    uri = environ.get("RAW_URI") or quote(environ.get("PATH_INFO", ""), encoding="latin-1")
    path = uri.partition("#")[0].partition("?")[0]
    if path.startswith("/"):
        return path
    origin = _ORIGIN.match(path)
    return path[origin.end() :] or "/" if origin else path


def read_routed_path(environ: dict[str, Any]) -> str:
    """Return the path to forward, escapes unchanged. Raises BadRequest if it is not the one that the request was routed
    by (RFC 9112 section 3.2)."""
    path = read_raw_path(environ)
    routed_by = environ.get("PATH_INFO") or "/"
    if path == routed_by and path.startswith("/") and "%" not in path:
        return path
    if not path.startswith("/") or unquote_to_bytes(path.encode("latin-1")).decode("latin-1") != routed_by:
        raise BadRequest("The request target must be a path or an http URL.")
    return path


def prepend_head(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an empty piece first: it makes Gunicorn send the head before the body begins."""
    yield b""
    yield from pieces


class ClientGoneBody:
    """The body for a client that has gone: iterating it raises ClientGone."""

    def __iter__(self) -> Iterator[bytes]:
        raise ClientGone


def deliver(pieces: Iterable[bytes], context: RequestContext) -> Iterator[bytes]:
    """Yield the pieces of a response, count them, and end the request when they end.

    Raises BrokenPipeError if they break off: only on EPIPE does Gunicorn close a connection without a last chunk, which
    would make the body look complete, and without a traceback.
    """
    meter = context.meter
    try:
        for piece in pieces:
            if piece:
                meter.add_bytes(len(piece))
            yield piece
    except ClientGone:
        context.set_ending(Ending.CLIENT_GONE)
    except ProxyError as error:
        context.record_failure(error)
    except Exception as error:  # noqa: BLE001 the head is sent, so Flask's error handler no longer runs
        context.record_crash(error)
    else:
        context.set_ending(Ending.COMPLETE)
        context.settle()  # before the server sends the end of the body
        return
    raise BrokenPipeError(errno.EPIPE, "the response broke off")
