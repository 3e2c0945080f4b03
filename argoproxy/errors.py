"""Every error that a client can get, and the shape in which it is sent.

A ProxyError is raised once, where the failure is detected, and rendered once, in `web`. Its class has
the status, type, code and ending. docs/errors.md lists every message. Shape: OpenAI's `{"error": {message, type, param,
code}}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from errno import ECONNRESET
from math import ceil
from typing import Any, ClassVar

type_by_status = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Ending(StrEnum):
    """How a request ended; every request has exactly one."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_BROKEN = "upstream_broken"
    INTERNAL = "internal"


class ClientGone(Exception):
    """The client closed its connection. Not an OSError, because HTTP clients swallow, wrap or retry those."""


class ClientTooSlow(ConnectionResetError):
    """The client stopped sending for too long. For Gunicorn a reset connection, which it does not log."""

    def __init__(self) -> None:
        super().__init__(ECONNRESET, "the client was too slow")


class ProxyError(Exception):
    """An error for the client. `message` must not contain a host, a URL or a key of the upstream."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    ending: ClassVar[Ending] = Ending.INTERNAL
    #: Whether the upstream may have received anything of the request.
    reached: ClassVar[bool] = True

    #: For the log only: why the connection failed, and to which host:port.
    reason: str = ""
    address: str = ""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Additional headers of the response."""
        return ()


class InternalError(ProxyError):
    """A fault of the proxy itself."""

    code = "internal_error"


class BadRequest(ProxyError):
    """The request is wrong."""

    status = 400
    type = "invalid_request_error"
    ending = Ending.REFUSED


class AuthenticationError(BadRequest):
    """Missing or invalid credentials."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("WWW-Authenticate", "Bearer"),)


class ModelNotAllowed(BadRequest):
    """The model is not in the list of allowed models."""

    status = 403
    type = "permission_error"
    code = "model_not_allowed"


class ModelUnclear(ModelNotAllowed):
    """Only some models are allowed, and it is not certain which one this request is for."""


class OriginNotAllowed(BadRequest):
    """Web pages of this origin may not use the proxy."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class NotFound(BadRequest):
    """The path does not exist."""

    status = 404
    code = "not_found"


class MethodNotAllowed(BadRequest):
    """The path does not accept this method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", ", ".join(self.allowed)),)


class Conflict(BadRequest):
    """What is asked for contradicts what there is."""

    status = 409
    code = "conflict"


class RequestTimeout(BadRequest):
    """The client did not send its request in time; `code` says which part."""

    status = 408
    code = "client_body_timeout"


class PayloadTooLarge(BadRequest):
    """The body is over the limit for bodies in memory."""

    status = 413
    code = "payload_too_large"


class Stopping(ProxyError):
    """The proxy stops, and the time for requests to finish is over."""

    status = 503
    code = "proxy_stopping"


class MetricsUnavailable(ProxyError):
    """No metrics are available."""

    status = 503
    code = "metrics_unavailable"


class StateUnavailable(ProxyError):
    """The files in which keys are kept can't be used now."""

    status = 503
    code = "state_unavailable"


class UpstreamUnreachable(ProxyError):
    """The connection failed: refused, unknown name, TLS."""

    status = 502
    type = "upstream_error"
    code = "upstream_unreachable"
    ending = Ending.UPSTREAM_ERROR
    reached = False


class TryLater(ProxyError):
    """A refusal with the time after which the client may try again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", str(max(1, ceil(self.retry_after_s)))),)


class UpstreamsFull(TryLater):
    """All upstreams of the model have as many requests as they may get at once, and there is no place in their
    queues."""

    status = 503
    code = "overloaded"
    ending = Ending.REFUSED


class UpstreamsUnavailable(TryLater):
    """All upstreams of the model have failed, and it is not the time to ask one of them."""

    status = 503
    code = "upstreams_unavailable"
    ending = Ending.UPSTREAM_ERROR
    reached = False


class UpstreamsLimited(TryLater):
    """All upstreams of the model have asked to wait."""

    status = 429
    type = "rate_limit_error"
    code = "upstreams_rate_limited"
    ending = Ending.UPSTREAM_ERROR
    reached = False


class UpstreamProtocolError(ProxyError):
    """The upstream's reply broke off or is not valid."""

    status = 502
    type = "upstream_error"
    code = "upstream_protocol_error"
    ending = Ending.UPSTREAM_BROKEN


class UpstreamTimeout(ProxyError):
    """One of the time-outs was exceeded; `code` says which."""

    status = 504
    type = "timeout"
    code = "upstream_timeout"
    ending = Ending.UPSTREAM_TIMEOUT


class ConnectTimeout(UpstreamTimeout):
    """The connection was not made in time."""

    code = "connect_timeout"
    reason = "timed out"
    reached = False


class PluginFailed(ProxyError):
    """A plug-in failed on a request; the log names it."""

    status = 502
    code = "own_class_failed"


class UpstreamStatus(ProxyError):
    """The upstream's own error: its status, the headers that may pass, and a body in OpenAI's shape."""

    ending = Ending.UPSTREAM_ERROR

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        super().__init__(f"The upstream answered with status {status}.")
        self.status = status
        self.type = type_by_status.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.reply_headers = tuple(headers)
        self.body = body

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self.reply_headers


def to_openai(error: ProxyError) -> dict[str, Any]:
    """Return OpenAI's error document. A refused request also gets the flat `detail` that older clients read."""
    document: dict[str, Any] = {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    }
    if error.ending is Ending.REFUSED:
        document["detail"] = error.message
    return document
