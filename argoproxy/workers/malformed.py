"""Answers to requests that Gunicorn can't parse, in OpenAI's shape.

Gunicorn answers them with an HTML page and logs them, and quotes the bad line in both. Such a line may hold a key:
where a line end is lost, a header is part of the line before. So nothing of the request is repeated here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from gunicorn.http import errors

from argoproxy.errors import BadRequest
from argoproxy.workers.refusals import HeadTooLarge, response

_HEADER = "A header field of the request is malformed."
_CHUNK = "The body of the request is badly chunked."

#: What is wrong, by Gunicorn's exception: (status, message). Any other one is a 400.
_REASONS: dict[type[Exception], tuple[int, str]] = {
    errors.InvalidRequestLine: (400, "The request line is malformed."),
    errors.InvalidRequestMethod: (400, "The method of the request is malformed."),
    errors.InvalidHTTPVersion: (400, "The request line names no version of HTTP that is served."),
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
#: Faults of the application and of Gunicorn's settings, which are Gunicorn's to log.
_NOT_THE_CLIENTS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class MalformedRequest(BadRequest):
    """The request is no HTTP that is served."""

    code = "malformed_request"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RefusesMalformed:
    """Part of a worker class: answers what can't be parsed."""

    log: Any

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that raised an exception before the application was called, or while it read."""
        if not isinstance(exc, errors.ParseException) or isinstance(exc, _NOT_THE_CLIENTS):
            super().handle_error(req, client, addr, exc)  # type: ignore[misc]
            return
        error = _error(exc)
        self.log.warning("Invalid request from ip=%s: %s", addr[0] if addr else "", error.message)
        with suppress(OSError):
            client.sendall(response(error))


def _error(exc: errors.ParseException) -> BadRequest:
    if isinstance(exc, errors.LimitRequestHeaders):
        return HeadTooLarge("The head of the request, or a field of it, is too long.")
    status, message = _REASONS.get(type(exc), (400, "The request is malformed."))
    return MalformedRequest(message, status)
