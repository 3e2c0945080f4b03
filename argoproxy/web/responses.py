"""Responses of ours as WSGI's: a whole one, and the rest of one that has begun early."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, g
from werkzeug.datastructures import Headers as WerkzeugHeaders

from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.early_start import StartResponse
from argoproxy.protocol.api.cors import without_cors
from argoproxy.protocol.http_messages import ClientResponse, drop_unsendable, header
from argoproxy.web.wsgi_io import LeftAlone, at_the_edge, head_first

CLIENT_GONE_STATUS = 499
#: RFC 9110 section 15; a class of the operator's own could name any other one.
STATUSES = range(100, 600)
#: Statuses whose answers get no length: one that goes nowhere, and two that have no body (of a 304 a length would say
#: how long the answer to the request without its condition is, RFC 9110 section 8.6).
NO_LENGTH = frozenset((204, 304, CLIENT_GONE_STATUS))


class DoorResponse(Response):
    """A response whose head goes to the server as it stands: nothing is added, rewritten or left out."""

    default_mimetype = None
    context: RequestContext

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Start the response. Flask has no errorhandler around this: where the server refuses the head, the context is
        ended here. Raises what the server raises, which answers by itself then."""
        try:
            return super().__call__(environ, start_response)  # type: ignore[arg-type]
        except Exception as error:
            self.context.record_crash(error)
            self.close()
            raise

    def get_wsgi_headers(self, environ: dict[str, Any]) -> WerkzeugHeaders:
        """Return the headers as they are. Werkzeug would read `Location` and `Content-Location` as IRIs, which fails
        or changes them for what some upstreams send, and would drop headers of a 304."""
        return self.headers


class Continuation(Response):
    """The rest of a response that has begun."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Give the pieces alone."""
        return self.get_app_iter(environ)


def respond(answer: ClientResponse, context: RequestContext) -> Response:
    """Make Flask's response of ours; the context is closed when the server is through with it."""
    if context.has_started_early:
        return _continue(answer, context)
    if answer.status not in STATUSES:
        raise ValueError(f"{answer.status!r} is no status of HTTP")
    context.set_status(answer.status)
    logging_id, request_id = ids(context)
    kept = drop_unsendable(answer.headers)
    if added := g.get("cors_headers"):
        kept = (*without_cors(kept), *added)
    headers = [*kept, logging_id]
    if not header(kept, "x-request-id"):
        headers.append(request_id)
    if isinstance(answer.body, bytes):
        pieces: Iterable[bytes] = (answer.body,)
        if answer.status not in NO_LENGTH:
            headers.append(("Content-Length", str(len(answer.body))))
    else:
        pieces = head_first(answer.body)
    response = DoorResponse(at_the_edge(pieces, context), answer.status, headers)
    response.context = context
    response.call_on_close(context.close)
    return response


def _continue(answer: ClientResponse, context: RequestContext) -> Response:
    """Go on with a stream that has begun: its head is out, whatever the answer's says."""
    context.set_status(200)
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    response = Continuation(at_the_edge(LeftAlone() if answer.status == CLIENT_GONE_STATUS else pieces, context))
    response.call_on_close(context.close)
    return response


def ids(context: RequestContext) -> tuple[tuple[str, str], tuple[str, str]]:
    """Give the headers by which a request is found in the log, ours and the one that others set too."""
    return ("X-Logging-Id", context.id), ("X-Request-Id", context.id)
