"""The edge to WSGI: a request taken from its environ, a body read as it comes, an answer sent as it goes."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterable, Iterator
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
from argoproxy.transport.watch import Watch

PIECE = 64 * 1024

_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)


class WsgiBody:
    """The body of a request, read from its client as it comes."""

    def __init__(self, environ: dict[str, Any], watch: Watch) -> None:
        self._input = environ["wsgi.input"]
        self._watch = watch
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        self.length: int | None = None if is_chunked else int(environ.get("CONTENT_LENGTH") or 0)

    def read(self, limit: int) -> bytes:
        """Take all of it. Raises PayloadTooLarge over limit bytes; ClientGone, BadRequest when it stays short."""
        parts, size = [], 0
        too_long = PayloadTooLarge(f"The request body is longer than {limit} bytes.")
        if (self.length or 0) > limit:
            raise too_long
        for piece in self.pieces():
            parts.append(piece)
            size += len(piece)
            if size > limit:
                raise too_long
        return b"".join(parts)

    def pieces(self) -> Iterator[bytes]:
        """Take it as it comes. Raises ClientGone, BadRequest when it stays short."""
        left = self.length
        while left is None or left > 0:
            begun = time.monotonic()
            try:
                piece = self._input.read(PIECE if left is None else min(PIECE, left))
            except ClientTooSlow:
                raise RequestTimeout("The body of the request did not arrive in time.") from None
            except (OSError, ParseException):
                raise self._broken() from None
            self._watch.waited_since(begun)
            if not piece:
                break
            left = None if left is None else left - len(piece)
            yield piece
        if left:
            raise self._broken()

    def _broken(self) -> BadRequest:
        self._watch.look()
        return BadRequest("The request body broke off.")


def raw_path(environ: dict[str, Any]) -> str:
    """Give the path of the request's target with its escapes as they came; of an absolute one, the path only."""
    uri = environ.get("RAW_URI") or quote(environ.get("PATH_INFO", ""), encoding="latin-1")
    path = uri.partition("#")[0].partition("?")[0]
    origin = _ORIGIN.match(path)
    return path[origin.end() :] or "/" if origin else path


def checked_target(environ: dict[str, Any]) -> str:
    """Give the path to be sent on, which is the one that was routed by (RFC 9112 section 3.2). Raises BadRequest."""
    path = raw_path(environ)
    routed_by = environ.get("PATH_INFO") or "/"
    if not path.startswith("/") or unquote_to_bytes(path.encode("latin-1")).decode("latin-1") != routed_by:
        raise BadRequest("The request's target is neither a path nor an http URL.")
    return path


def head_first(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Have the server send the head now, before there is anything to send after it."""
    yield b""
    yield from pieces


class LeftAlone:
    """Nothing, for a client that has gone."""

    def __iter__(self) -> Iterator[bytes]:
        raise ClientGone


def at_the_edge(pieces: Iterable[bytes], context: RequestContext) -> Iterator[bytes]:
    """Count what goes out, and cut the connection when it breaks off.

    Raises BrokenPipeError: the one error at which Gunicorn ends a connection without a last chunk or a traceback.
    """
    try:
        for piece in pieces:
            if piece:
                context.record_sent(len(piece))
            yield piece
    except ClientGone:
        context.set_ending(Ending.CLIENT_GONE)
    except ProxyError as error:
        context.record_failure(error)
    except Exception as error:  # noqa: BLE001 the head is out: this is the errorhandler of what follows
        context.record_crash(error)
    else:
        context.set_ending(Ending.COMPLETE)
        return
    raise BrokenPipeError(errno.EPIPE, "the answer broke off")
