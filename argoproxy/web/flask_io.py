"""Convert Flask's requests to the proxy's own, and the proxy's responses to Flask's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from os import urandom
from typing import Any

from flask import Response
from werkzeug.datastructures import Headers as WerkzeugHeaders

from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.early_start import StartResponse
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.api.cors import without_cors
from argoproxy.protocol.api.endpoints import LONGEST_LOOK
from argoproxy.protocol.cache.cache_headers import REPLACED
from argoproxy.protocol.http_messages import (
    Body,
    ClientRequest,
    ClientResponse,
    Headers,
    drop_unsendable,
    get_header,
    read_up_to,
    without,
)
from argoproxy.protocol.limits.rate_headers import replace_rate_headers
from argoproxy.telemetry.outcome import RequestInfo
from argoproxy.web.wsgi_io import (
    ClientGoneBody,
    WsgiBody,
    deliver,
    prepend_head,
    read_headers,
    read_raw_path,
    read_routed_path,
)

#: An upstream's own are not the proxy's.
_ATTEMPT_HEADERS = frozenset(("x-upstream", "x-attempts", "x-fallback"))
#: nginx's status for a client that closed the connection; it is logged, never sent.
CLIENT_GONE_STATUS = 499
#: RFC 9110 section 15; a plug-in could return any other number.
STATUSES = range(100, 600)
#: Statuses without a Content-Length: one that is never sent, and two that have no body (for a 304 it would be the
#: length of the response without the condition, RFC 9110 section 8.6).
NO_LENGTH = frozenset((204, 304, CLIENT_GONE_STATUS))
#: Statuses of responses that have no body (RFC 9110 section 6.4.1).
NO_BODY = frozenset((*range(100, 200), 204, 304))


class WebRequest:
    """A request as the server hands it over, and what belongs to it: `proxy`, everything that the settings make;
    `context`, the state of the request, set before anything else is done; `begun_body`, if it was read in part."""

    context: RequestContext
    begun_body: Body | None = None

    def __init__(self, environ: dict[str, Any], proxy: Proxy) -> None:
        self.environ = environ
        self.proxy = proxy
        self.method: str = environ["REQUEST_METHOD"].upper()
        self.query: str = environ.get("QUERY_STRING", "")
        self.headers = read_headers(environ)
        self.cors_headers: Headers = proxy.cors.headers_for(self.headers) if proxy.cors else ()


def make_client_request(request: WebRequest) -> ClientRequest:
    """Return a request without the key that its client was authenticated by. Raises BadRequest."""
    context, authenticator = request.context, request.proxy.authenticator
    body = _make_body(request)
    if context.record:
        context.record.length = body.length
    return ClientRequest(
        id=context.id,
        created=int(time.time()),
        method=request.method,
        path=read_routed_path(request.environ),
        query=authenticator.query_without_credentials(request.query) if authenticator else request.query,
        headers=authenticator.without_credentials(request.headers) if authenticator else request.headers,
        body=body,
        caller=context.key_name,
    )


def _make_body(request: WebRequest) -> Body:
    """Return the body. In compatible mode its beginning is read now: the form of an error response depends on it."""
    body: Body = WsgiBody(request.environ, request.context.watch)
    if request.context.is_compatible:
        body = request.begun_body = read_up_to(body, LONGEST_LOOK)
    return body


def describe_request(request: WebRequest, label: str, redact: Callable[[str], str]) -> RequestInfo:
    """Describe a request for logs and metrics; `redact` stars out keys in what the client could choose."""
    return RequestInfo(
        id=urandom(16).hex(),
        client_request_id=redact(request.environ.get("HTTP_X_REQUEST_ID", "")),
        method=request.method,
        route=label,
        path=redact(read_raw_path(request.environ)),
    )


class VerbatimResponse(Response):
    """A response whose status and headers go to the server as they are.

    Werkzeug would parse `Location` and `Content-Location` as IRIs, which fails for or changes what some upstreams send,
    and would drop headers of a 304. It would also make a Headers object of the fields, and a list of that again: here
    `headers` is made only if a hook of Flask's looks at it. The same holds for the pieces, which Werkzeug would pass
    through an iterator and a generator more.
    """

    default_mimetype = None

    def __init__(
        self, status: int, fields: list[tuple[str, str]], pieces: Iterator[bytes], context: RequestContext
    ) -> None:
        # These are the attributes that Werkzeug's own __init__ sets, but for `headers`.
        self._status, self._status_code = _status_line(status), status
        self.response = self._pieces = pieces
        self.direct_passthrough = False
        self._on_close: list[Callable[[], Any]] = [context.close]
        self._fields = fields
        self._context = context

    @cached_property
    def headers(self) -> WerkzeugHeaders:  # type: ignore[override]
        return WerkzeugHeaders(self._fields)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Start the response. Raises what the server raises when it refuses the headers; it then answers by itself,
        outside of Flask's error handler, so the request is ended here."""
        fields = self.headers.to_wsgi_list() if "headers" in self.__dict__ else self._fields
        try:
            start_response(self.status, fields)
        except Exception as error:
            self._context.record_crash(error)
            self.close()
            raise
        return self.get_app_iter(environ)

    def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
        """Return the body; Werkzeug knows what to do where there is none, or where a hook has replaced it."""
        has_body = environ["REQUEST_METHOD"] != "HEAD" and self.status_code not in NO_BODY
        if has_body and self.response is self._pieces:
            return _ClosedByServer(self._pieces, self.close)
        return super().get_app_iter(environ)


class _ClosedByServer:
    """The pieces of a body; the server calls `close` when it has finished with them (PEP 3333)."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


@cache
def _status_line(status: int) -> str:
    """Return a status with its phrase; there are 500 at most (see STATUSES)."""
    return Response(status=status).status


class ContinuedResponse(Response):
    """The rest of a response whose head was sent before the upstream answered."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Return the body alone."""
        return self.get_app_iter(environ)


def respond(answer: ClientResponse, request: WebRequest) -> Response:
    """Make Flask's response; the context is closed when the server has finished with it. Raises ValueError for a status
    that HTTP does not have."""
    context = request.context
    if context.has_started_early:
        return _continue(answer, context)
    if answer.status not in STATUSES:
        raise ValueError(f"{answer.status!r} is not an HTTP status")
    context.set_status(answer.status)
    logging_id, request_id = id_headers(context)
    kept = drop_unsendable(answer.headers)
    if request.cors_headers:
        kept = (*without_cors(kept), *request.cors_headers)
    if context.attempts and (about_attempts := context.attempts.headers):
        kept = (*without(kept, _ATTEMPT_HEADERS), *about_attempts)
    if context.cache:
        kept = (*without(kept, REPLACED), *context.cache.headers)
    if context.account and context.account.headers:
        kept = replace_rate_headers(kept, context.account.headers)
    headers = [*kept, logging_id]
    if not get_header(kept, "x-request-id"):
        headers.append(request_id)
    if isinstance(answer.body, bytes):
        context.settle()
        pieces: Iterable[bytes] = (answer.body,)
        if answer.status not in NO_LENGTH:
            headers.append(("Content-Length", str(len(answer.body))))
    else:
        pieces = prepend_head(answer.body)
    return VerbatimResponse(answer.status, headers, deliver(pieces, context), context)


def _continue(answer: ClientResponse, context: RequestContext) -> Response:
    """Return the rest of a stream whose head is sent: status and headers of `answer` no longer matter."""
    context.set_status(200)
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    response = ContinuedResponse(deliver(ClientGoneBody() if answer.status == CLIENT_GONE_STATUS else pieces, context))
    response.call_on_close(context.close)
    return response


def id_headers(context: RequestContext) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the headers by which a request is found in the log: the proxy's own, and the customary one."""
    return ("X-Logging-Id", context.id), ("X-Request-Id", context.id)
