"""Every failure a client can meet, and the one shape they are told in.

A ProxyError is raised once, where the failure is seen, and rendered once, at the edge. Its class says
which status, type, code and ending it has. Shape: OpenAI's `{"error": {message, type, param, code}}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from errno import ECONNRESET
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
    """The client left. No OSError on purpose: HTTP clients swallow, wrap or retry those."""


class ClientTooSlow(ConnectionResetError):
    """The client did not go on sending in time. To Gunicorn, a client that has gone: an OSError it does not log."""

    def __init__(self) -> None:
        super().__init__(ECONNRESET, "the client was too slow")


class ProxyError(Exception):
    """A failure the client is told about. `message` must name no host, URL or key of the upstream."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    ending: ClassVar[Ending] = Ending.INTERNAL
    #: Whether anything of the request may have come to the upstream.
    reached: ClassVar[bool] = True

    #: For the log alone: why no connection could be made, and to which host:port.
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
        """Headers that belong to the answer besides those of every error."""
        return ()


class InternalError(ProxyError):
    """A fault of ours."""

    code = "internal_error"


class BadRequest(ProxyError):
    """The request can't be served as it is."""

    status = 400
    type = "invalid_request_error"
    ending = Ending.REFUSED


class AuthenticationError(BadRequest):
    """Nobody is known who asks."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("WWW-Authenticate", "Bearer"),)


class ModelNotAllowed(BadRequest):
    """The operator does not let this model be asked for."""

    status = 403
    type = "permission_error"
    code = "model_not_allowed"


class ModelNotTold(ModelNotAllowed):
    """The operator allows some models only, and it is not sure which one this request is for."""


class OriginNotAllowed(BadRequest):
    """The operator does not let pages of this origin use the proxy."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class NotFound(BadRequest):
    """No such path here."""

    status = 404
    code = "not_found"


class MethodNotAllowed(BadRequest):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", ", ".join(self.allowed)),)


class RequestTimeout(BadRequest):
    """The client did not send its request in time; `code` says which part."""

    status = 408
    code = "client_body_timeout"


class PayloadTooLarge(BadRequest):
    """The body is longer than we take into memory."""

    status = 413
    code = "payload_too_large"


class Stopping(ProxyError):
    """The proxy stops, and the time that requests have to end is over."""

    status = 503
    code = "proxy_stopping"


class MetricsUnavailable(ProxyError):
    """Nothing is counted."""

    status = 503
    code = "metrics_unavailable"


class UpstreamUnreachable(ProxyError):
    """No connection: refused, unknown name, failed TLS."""

    status = 502
    type = "upstream_error"
    code = "upstream_unreachable"
    ending = Ending.UPSTREAM_ERROR
    reached = False


class UpstreamProtocolError(ProxyError):
    """The upstream answered, but broke off or sent what can't be understood."""

    status = 502
    type = "upstream_error"
    code = "upstream_protocol_error"
    ending = Ending.UPSTREAM_BROKEN


class UpstreamTimeout(ProxyError):
    """One of the four time-outs ran out; `code` says which."""

    status = 504
    type = "timeout"
    code = "upstream_timeout"
    ending = Ending.UPSTREAM_TIMEOUT


class ConnectTimeout(UpstreamTimeout):
    """No connection in time."""

    code = "connect_timeout"
    reason = "timed out"
    reached = False


class PluginFailed(ProxyError):
    """A plug-in failed on a request; the log names it."""

    status = 502
    code = "own_class_failed"


class UpstreamStatus(ProxyError):
    """The upstream itself said no: its status, the headers that may pass, and a body in OpenAI's shape."""

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
    """Give the error document of OpenAI; a refused request also gets the flat `detail` older clients read."""
    document: dict[str, Any] = {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    }
    if error.ending is Ending.REFUSED:
        document["detail"] = error.message
    return document
