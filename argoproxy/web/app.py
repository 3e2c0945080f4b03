"""The Flask application: what happens before each request, and the one error handler.

Each request has a WebRequest, `flask.request.web`. Views and helpers get it as an argument: each look at Flask's `g` or
`request` costs three calls and a context variable, and one request needed thirty of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask, Response
from flask import request as flask_request
from werkzeug.exceptions import HTTPException, InternalServerError

from argoproxy.errors import BadRequest, ClientGone, Ending, ProxyError
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.early_start import EarlyStart
from argoproxy.pipeline.proxy import Proxy
from argoproxy.pipeline.shared.request_pricing import RequestPricing
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.access.auth import find_sent_keys
from argoproxy.protocol.api.cors import is_preflight
from argoproxy.protocol.api.endpoints import (
    STREAM_HEAD,
    answer_as_success,
    is_compatible,
    wants_a_stream,
)
from argoproxy.protocol.http_messages import ClientResponse
from argoproxy.telemetry.journal.record import JournalRecord
from argoproxy.telemetry.live.live_requests import LiveRequests
from argoproxy.telemetry.metrics import Metrics
from argoproxy.transport.watch import Poller, Watch
from argoproxy.web.flask_app import FlaskRequest, ProxyFlask
from argoproxy.web.flask_io import CLIENT_GONE_STATUS, WebRequest, describe_request, id_headers, respond
from argoproxy.web.surfaces import find_endpoint
from argoproxy.web.views import Views
from argoproxy.web.wsgi_io import START_RESPONSE, StartResponseMiddleware, WsgiBody

#: The key in `app.extensions` of the poller, by which a worker ends all waits when it stops.
POLLER = "argoproxy.poller"
#: Probes and scrapes are neither logged nor counted.
UNCOUNTED = ("/health", "/metrics")
#: Served with the administrator's key only, if there is one.
ADMIN_ROUTES = "/admin/"


def create_app(
    current: Callable[[], Proxy],
    poller: Poller,
    metrics: Metrics | None = None,
    live: LiveRequests[RequestContext] | None = None,
) -> Flask:
    """Create the WSGI application. `current` returns the proxy to serve a new request with; `metrics` counts requests
    and is served at /metrics; `live` tells the console of them. Both get outcomes as listeners of the proxy."""
    app = ProxyFlask("argoproxy")
    app.extensions[POLLER] = poller
    app.wsgi_app = StartResponseMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    views = Views(metrics)
    blueprint = views.blueprint()
    hooks = RequestHooks(current, poller, views.labels, metrics, live)
    blueprint.before_app_request(hooks.begin)
    blueprint.app_errorhandler(Exception)(hooks.handle_error)
    app.register_blueprint(blueprint)
    return app


class RequestHooks:
    """What runs before each view, and after one that raised an error."""

    def __init__(
        self,
        current: Callable[[], Proxy],
        poller: Poller,
        labels: Mapping[str, str],
        metrics: Metrics | None,
        live: LiveRequests[RequestContext] | None,
    ) -> None:
        self._current = current
        self._poller = poller
        self._labels = labels
        self._metrics, self._live = metrics, live

    def begin(self) -> Response | None:
        """Create the state of the request, count it, and authenticate its client if keys are required. Return the
        response to a CORS preflight, which carries no key. Raises BadRequest, AuthenticationError."""
        matched: FlaskRequest = flask_request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        label = self._labels.get(matched.endpoint or "", "")
        proxy = self._current()
        matched.web = request = WebRequest(matched.environ, proxy)
        keys = find_sent_keys(request.headers, request.query)
        request.context = context = self._create_context(request, label, keys)
        if not label.startswith(UNCOUNTED):
            self._start_telemetry(request, label, keys)
            context.is_compatible = is_compatible(request.headers, proxy.compatible)
            if proxy.prices:
                context.pricing = RequestPricing(proxy.prices)
        if proxy.cors and is_preflight(request.method, request.headers):
            request.cors_headers += proxy.cors.preflight_headers(request.headers)
            return respond(ClientResponse(204, (), ()), request)
        if "HTTP_HOST" not in request.environ and request.environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise BadRequest("An HTTP/1.1 request must have a Host header (RFC 9112 section 3.2).")
        if proxy.key_desk and label.startswith(ADMIN_ROUTES):
            context.key_name = proxy.key_desk.access.authenticate(request.headers).name
        elif proxy.authenticator and label not in proxy.open_routes:
            caller = proxy.authenticator.authenticate(request.headers)
            context.caller, context.key_name = caller, caller.name
            request.proxy = proxy.for_caller(caller)
        return None

    def _create_context(self, request: WebRequest, label: str, keys: tuple[str, ...]) -> RequestContext:
        proxy, environ = request.proxy, request.environ
        redact = partial(proxy.masker.mask_text, keys)
        watch = Watch(environ.get("gunicorn.socket"), self._poller)
        meter = ResponseMeter(watch, time.monotonic, proxy.heartbeat.every_s)
        listeners = () if label.startswith(UNCOUNTED) else proxy.listeners
        context = RequestContext(describe_request(request, label, redact), watch, meter, listeners, redact)
        if proxy.heartbeat.is_early:
            headers = (*STREAM_HEAD, *id_headers(context), *request.cors_headers)
            context.early = EarlyStart(environ[START_RESPONSE], headers, watch, meter)
        return context

    def _start_telemetry(self, request: WebRequest, label: str, keys: tuple[str, ...]) -> None:
        """Count the request; trace it, and record it in the journal, where that is wanted."""
        proxy, context = request.proxy, request.context
        if self._metrics:
            self._metrics.count_start(label)
        if self._live:
            self._live.begin(context.id, context)
        if proxy.tracer:
            context.trace = trace = proxy.tracer.begin(context.id, request.environ.get("HTTP_TRACEPARENT", ""))
            if trace.is_sampled:
                context.add_listener(partial(proxy.tracer.finish, trace))
        if proxy.journal:
            context.record = record = JournalRecord(is_brief=proxy.journal.is_brief, keys=keys)
            context.add_listener(partial(proxy.journal.write, record))

    def handle_error(self, error: Exception) -> Response:
        """Return the response to an error, in the shape of the API that its path belongs to."""
        request: WebRequest = flask_request.web  # type: ignore[attr-defined]
        context = request.context
        if isinstance(error, ClientGone):
            context.set_ending(Ending.CLIENT_GONE)
            return respond(ClientResponse(CLIENT_GONE_STATUS, (), b""), request)
        if isinstance(error, InternalServerError) and isinstance(error.original_exception, Exception):
            error = error.original_exception
        elif isinstance(error, HTTPException):
            error = BadRequest(f"The request is not valid: {error.name}.")
        if not isinstance(error, ProxyError):
            error = context.record_crash(error)
        context.record_failure(error)
        endpoint = find_endpoint(request.environ.get("PATH_INFO", ""), request.headers)
        event = endpoint.error_event(error, context.id)
        if context.has_started_early:
            return respond(ClientResponse(200, (), event), request)
        response = endpoint.answer_error(error, context.id)
        if not context.is_compatible:
            return respond(response, request)
        wants_stream = context.wants_stream or wants_a_stream(
            request.begun_body or WsgiBody(request.environ, context.watch)
        )
        return respond(answer_as_success(response, event, wants_stream), request)
