"""Error responses of the workers, in OpenAI's shape: to requests that are late, too long or malformed.

To malformed ones, Gunicorn itself would send an HTML page and write a log line, which both quote the bad line. That may
hold a key: where a line end is lost, a header is part of the line before. So nothing of the request is repeated here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

from argoproxy.errors import BadRequest, ProxyError, RequestTimeout, to_openai

_HEADER = "A header field of the request is malformed."
_CHUNK = "The body of the request is badly chunked."

#: Status and message by Gunicorn's exception. Any other one is a 400.
_REASONS: dict[type[Exception], tuple[int, str]] = {
    errors.InvalidRequestLine: (400, "The request line is malformed."),
    errors.InvalidRequestMethod: (400, "The method of the request is malformed."),
    errors.InvalidHTTPVersion: (400, "The request line names a version of HTTP that is not supported."),
    errors.InvalidHeader: (400, _HEADER),
    errors.InvalidHeaderName: (400, _HEADER),
    errors.ObsoleteFolding: (400, "A header field of the request is folded, which is obsolete."),
    errors.InvalidChunkSize: (400, _CHUNK),
    errors.ChunkMissingTerminator: (400, _CHUNK),
    errors.InvalidChunkExtension: (400, _CHUNK),
    errors.LimitRequestLine: (414, "The request line is too long."),
    errors.ExpectationFailed: (417, "Only 100-continue can be expected."),
    errors.UnsupportedTransferCoding: (501, "The transfer coding of the request is not supported."),
}
#: Faults of the application and of Gunicorn's settings, which Gunicorn logs.
_SERVER_FAULTS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class HeadTooLarge(BadRequest):
    """The request's head is over the limit."""

    status = 431
    code = "request_head_too_large"


class Overloaded(ProxyError):
    """Too many clients are sending large bodies."""

    status = 503
    code = "too_many_uploads"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", "1"),)


class MalformedRequest(BadRequest):
    """The request is not valid HTTP, or of a version or coding that is not supported."""

    code = "malformed_request"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OpenAIErrors:
    """Mixin of worker classes: answers requests that can't be parsed."""

    log: Any

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that raised an exception before the application was called, or while it read."""
        if not isinstance(exc, errors.ParseException) or isinstance(exc, _SERVER_FAULTS):
            super().handle_error(req, client, addr, exc)  # type: ignore[misc]
            return
        error = _to_error(exc)
        self.log.warning("code=invalid_request ip=%s: %s", addr[0] if addr else "", error.message)
        with suppress(OSError):
            client.sendall(render(error))


def _to_error(exc: errors.ParseException) -> BadRequest:
    if isinstance(exc, errors.LimitRequestHeaders):
        return HeadTooLarge("The head of the request, or one of its fields, is too long.")
    status, message = _REASONS.get(type(exc), (400, "The request is malformed."))
    return MalformedRequest(message, status)


def render(error: ProxyError) -> bytes:
    """Return the bytes of a whole response, after which the connection is closed."""
    body = json.dumps(to_openai(error)).encode()
    status = HTTPStatus(error.status)
    fields = (
        *error.headers,
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + body


LATE_HEAD = render(RequestTimeout("The head of the request did not arrive in time.", code="client_header_timeout"))
LATE_BODY = render(RequestTimeout("The body of the request did not arrive in time."))
LONG_HEAD = render(HeadTooLarge("The head of the request is over 64 KiB."))
OVERLOADED = render(Overloaded("Too many large request bodies are being received; try again."))
