"""Answers to clients whose request never becomes one: whole responses, as bytes, in OpenAI's shape."""

from __future__ import annotations

import json
from http import HTTPStatus

from argoproxy.errors import BadRequest, ProxyError, RequestTimeout, to_openai


class HeadTooLarge(BadRequest):
    """The head is longer than any client needs."""

    status = 431
    code = "request_head_too_large"


class Overloaded(ProxyError):
    """Too many clients are sending large bodies."""

    status = 503
    code = "too_many_uploads"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", "1"),)


def response(error: ProxyError) -> bytes:
    """Write the whole response, after which the connection is closed."""
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


LATE_HEAD = response(RequestTimeout("The head of the request did not arrive in time.", code="client_header_timeout"))
LATE_BODY = response(RequestTimeout("The body of the request did not arrive in time."))
LONG_HEAD = response(HeadTooLarge("The head of the request is over 64 KiB."))
OVERLOADED = response(Overloaded("Too many requests with large bodies are being read; try again."))
