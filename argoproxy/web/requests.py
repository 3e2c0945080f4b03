"""Requests of Flask's as ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

from flask import g, request

from argoproxy.pipeline.context import RequestContext
from argoproxy.protocol.access.auth import Authenticator
from argoproxy.protocol.api.compat_errors import LONGEST_LOOK
from argoproxy.protocol.http_messages import Body, ClientRequest, read_up_to
from argoproxy.telemetry.outcome import RequestInfo
from argoproxy.web.wsgi_io import WsgiBody, checked_target, raw_path


def client_request() -> ClientRequest:
    """Return the current request, without the credentials by which it was let in. Raises BadRequest."""
    context: RequestContext = g.context
    authenticator: Authenticator | None = g.proxy.authenticator
    headers, body = tuple(request.headers), _body(context)
    query = request.environ.get("QUERY_STRING", "")
    if context.record:
        context.record.length = body.length
    return ClientRequest(
        id=context.id,
        created=int(time.time()),
        method=request.method,
        path=checked_target(request.environ),
        query=authenticator.query_without_credentials(query) if authenticator else query,
        headers=authenticator.without_credentials(headers) if authenticator else headers,
        body=body,
        caller=g.caller,
    )


def _body(context: RequestContext) -> Body:
    """Give the body; what must be known of it to tell an error is read already."""
    body: Body = WsgiBody(request.environ, context.watch)
    if context.is_compatible:
        body = g.body = read_up_to(body, LONGEST_LOOK)
    return body


def request_info(label: str, conceal: Callable[[str], str]) -> RequestInfo:
    """Describe the request; `conceal` stars keys in what its client could choose."""
    return RequestInfo(
        id=uuid4().hex,
        client_request_id=conceal(request.headers.get("X-Request-Id", "")),
        method=request.method,
        route=label,
        path=conceal(raw_path(request.environ)),
    )
