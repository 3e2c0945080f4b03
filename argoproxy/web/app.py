"""The door: Flask, one blueprint, one errorhandler. It turns requests into ours and responses into Flask's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import PathConverter
from werkzeug.routing import Rule as UrlRule

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    Ending,
    MethodNotAllowed,
    MetricsUnavailable,
    NotFound,
    ProxyError,
)
from argoproxy.pipeline import handlers
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.early_start import EarlyStart, WithStart
from argoproxy.pipeline.handlers import Proxy
from argoproxy.pipeline.health import Health, alive
from argoproxy.protocol.access.auth import find_sent_keys
from argoproxy.protocol.api.compat_errors import answer_error_as_success, is_compatible, wants_a_stream
from argoproxy.protocol.api.cors import is_preflight
from argoproxy.protocol.api.endpoints import CHAT, COMPLETIONS, JSON_TYPE, STREAM_HEAD, answer_error, error_event
from argoproxy.protocol.http_messages import ClientResponse
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.telemetry.journal.record import JournalRecord
from argoproxy.telemetry.metrics import CONTENT_TYPE, Metrics
from argoproxy.transport.watch import Poller, Watch
from argoproxy.web.index_page import ABOUT, PAGE, PAGE_HEADERS
from argoproxy.web.requests import client_request, request_info
from argoproxy.web.responses import CLIENT_GONE_STATUS, ids, respond
from argoproxy.web.wsgi_io import WsgiBody

ANY_METHOD = "*"
HTML_TYPE = "text/html"
ELSEWHERE = "/{path}"
#: Where an application tells who can end its waits.
POLLER = "argoproxy.poller"
#: Probes and scrapes are neither logged nor counted.
QUIET = ("/health", "/metrics")
READING = ("GET", "HEAD")
FORWARDED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
View = Callable[..., ClientResponse]


class ExactRule(UrlRule):
    """A rule for exactly the methods it names: no HEAD comes along with GET, and `*` means any method."""

    def __init__(self, string: str, methods: Iterable[str] | None = None, **options: Any) -> None:
        super().__init__(string, methods=methods, **options)
        self.methods = None if methods is None or ANY_METHOD in methods else set(methods)


class AnyPath(PathConverter):
    """The rest of a path, whatever its escapes stand for: a line break too."""

    regex = "[^/](?s:.)*?"


def create_app(current: Callable[[], Proxy], poller: Poller, metrics: Metrics | None = None) -> Flask:
    """Make the WSGI application that serves, for each request, the proxy that is current when it comes; `metrics` is
    shown, and told of requests that begin."""
    app = Flask("argoproxy", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_rule_class = ExactRule  # type: ignore[assignment]
    app.url_map.converters["path"] = AnyPath
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.extensions[POLLER] = poller
    app.wsgi_app = WithStart(app.wsgi_app)  # type: ignore[method-assign]
    app.register_blueprint(Door(current, poller, metrics).blueprint())
    return app


class Door:
    """The views: what is ours goes to its journey, everything else is passed on."""

    def __init__(self, current: Callable[[], Proxy], poller: Poller, metrics: Metrics | None) -> None:
        self._current = current
        self._poller = poller
        self._metrics = metrics
        self._labels: dict[str, str] = {}

    def blueprint(self) -> Blueprint:
        """Lay out the routes; a path under `/v1` is served without it too."""
        blueprint = Blueprint("door", __name__)
        blueprint.before_app_request(self.begin)
        blueprint.app_errorhandler(Exception)(self.fail)
        routes: Sequence[tuple[str, str | Sequence[str], View]] = (
            ("/", READING, self.about),
            ("/health", READING, self.health),
            ("/health/live", READING, self.live),
            ("/health/{rest}", READING, self.unknown_health),
            ("/health", ANY_METHOD, self.read_only),
            ("/health/{rest}", ANY_METHOD, self.read_only),
            ("/metrics", READING, self.metrics),
            ("/metrics", ANY_METHOD, self.read_only),
            ("/v1/chat/completions", "POST", self.chat),
            ("/v1/completions", "POST", self.completions),
            ("/v1/embeddings", "POST", self.embeddings),
            ("/v1/models", "GET", self.models),
            ("/v1/models/{name}", "GET", self.model),
            ("/v1/chat", "POST", self.raw_chat),
            ("/v1/status", "GET", self.status),
            ("/", ANY_METHOD, self.relay),
            (ELSEWHERE, ANY_METHOD, self.relay),
        )
        for served, methods, view in routes:
            label = ELSEWHERE if view == self.relay else served
            for path in dict.fromkeys((served, served.removeprefix("/v1"))):
                self._serve(blueprint, path, methods, view, label)
        return blueprint

    def begin(self) -> Response | None:
        """Begin the trip of a request, and let nobody in without a key where keys are asked for. Answers preflights,
        which carry none."""
        g.proxy = proxy = self._current()
        label = self._labels.get(request.endpoint or "", "")
        is_quiet = label.startswith(QUIET)
        g.caller = ""
        g.cors_headers = proxy.cors.headers_for(tuple(request.headers)) if proxy.cors else ()
        keys = find_sent_keys(request.environ)
        conceal = partial(proxy.masker.name, keys)
        g.context = RequestContext(
            info=request_info(label, conceal),
            watch=Watch(request.environ.get("gunicorn.socket"), self._poller),
            clock=time.monotonic,
            heartbeat_s=proxy.heartbeat.every_s,
            listeners=() if is_quiet else proxy.listeners,
        )
        g.context.redact = conceal
        if proxy.heartbeat.is_early:
            g.context.early = EarlyStart(request.environ, (*STREAM_HEAD, *ids(g.context), *g.cors_headers))
        if self._metrics and not is_quiet:
            self._metrics.begins(label)
        if not is_quiet:
            self._take_note(proxy, g.context, keys)
        if proxy.cors and is_preflight(request.method, tuple(request.headers)):
            g.cors_headers += proxy.cors.preflight_headers(tuple(request.headers))
            return respond(ClientResponse(204, (), ()), g.context)
        if "HTTP_HOST" not in request.environ and request.environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise BadRequest("A request of HTTP/1.1 must have a Host header (RFC 9112 section 3.2).")
        if proxy.authenticator and label not in proxy.open_routes:
            g.caller = proxy.authenticator.authenticate(tuple(request.headers)).name
            g.context.set_key_name(g.caller)
        return None

    def _take_note(self, proxy: Proxy, context: RequestContext, keys: tuple[str, ...]) -> None:
        """Learn how errors are to be told, and have the journal remember what comes."""
        headers = tuple(request.headers)
        if proxy.journal:
            context.record = record = JournalRecord(is_brief=proxy.journal.is_brief, keys=keys)
            context.add_listener(partial(proxy.journal.tell, record))
        context.is_compatible = is_compatible(headers, proxy.compatible)

    def fail(self, error: Exception) -> Response:
        """Answer with a failure, in the one shape: the only errorhandler there is."""
        context: RequestContext = g.context
        if isinstance(error, ClientGone):
            context.set_ending(Ending.CLIENT_GONE)
            return respond(ClientResponse(CLIENT_GONE_STATUS, (), b""), context)
        if isinstance(error, InternalServerError) and isinstance(error.original_exception, Exception):
            error = error.original_exception
        elif isinstance(error, HTTPException):
            error = BadRequest(f"The request can't be served: {error.name}.")
        if not isinstance(error, ProxyError):
            error = context.record_crash(error)
        context.record_failure(error)
        if context.has_started_early:
            return respond(ClientResponse(200, (), error_event(error)), context)
        if not context.is_compatible:
            return respond(answer_error(error), context)
        wants_stream = context.wants_stream or wants_a_stream(g.get("body") or WsgiBody(request.environ, context.watch))
        return respond(answer_error_as_success(error, wants_stream), context)

    def about(self) -> ClientResponse:
        if request.accept_mimetypes.best_match((JSON_TYPE, HTML_TYPE)) == HTML_TYPE:
            return ClientResponse(200, PAGE_HEADERS, PAGE.encode())
        return _json(200, ABOUT)

    def health(self) -> ClientResponse:
        return _health(g.proxy.probe.health())

    def live(self) -> ClientResponse:
        return _health(alive())

    def metrics(self) -> ClientResponse:
        if self._metrics is None:
            raise MetricsUnavailable("Nothing is counted here: the log of the start tells why.")
        if request.accept_mimetypes.best_match(("text/plain", JSON_TYPE)) == JSON_TYPE:
            return _json(200, self._metrics.summary())
        return ClientResponse(200, (("Content-Type", CONTENT_TYPE),), self._metrics.text())

    def unknown_health(self, rest: str) -> ClientResponse:
        raise NotFound("There is /health, which asks the upstream, and /health/live, which does not.")

    def read_only(self, rest: str = "") -> ClientResponse:
        raise MethodNotAllowed(f"{request.method} is not served here; GET is.", READING)

    def chat(self) -> ClientResponse:
        return handlers.handle_chat(client_request(), CHAT, g.proxy, g.context)

    def completions(self) -> ClientResponse:
        return handlers.handle_chat(client_request(), COMPLETIONS, g.proxy, g.context)

    def embeddings(self) -> ClientResponse:
        return handlers.handle_embeddings(client_request(), g.proxy, g.context)

    def models(self) -> ClientResponse:
        return handlers.list_models(client_request(), g.proxy, g.context)

    def model(self, name: str) -> ClientResponse:
        return handlers.show_model(client_request(), name.rstrip("/"), g.proxy, g.context)

    def raw_chat(self) -> ClientResponse:
        if g.proxy.gateway is None:
            return self.relay()
        return handlers.handle_raw_chat(client_request(), g.proxy, g.context)

    def status(self) -> ClientResponse:
        if g.proxy.gateway is None:
            return self.relay()
        return handlers.handle_gateway_status(client_request(), g.proxy, g.context)

    def relay(self, path: str = "") -> ClientResponse:
        if request.method == "CONNECT":
            raise MethodNotAllowed("This door is no tunnel.", FORWARDED)
        return handlers.relay(client_request(), g.proxy, g.context)

    def _serve(self, blueprint: Blueprint, path: str, methods: str | Sequence[str], view: View, label: str) -> None:
        name = f"{view.__name__} {len(self._labels)}"
        self._labels[f"{blueprint.name}.{name}"] = label
        rule = path.replace("{", "<path:").replace("}", ">")
        listed = [methods] if isinstance(methods, str) else list(methods)
        blueprint.add_url_rule(rule, name, lambda **names: respond(view(**names), g.context), methods=listed)


def _health(health: Health) -> ClientResponse:
    return _json(health.status, health.document)


def _json(status: int, document: Json) -> ClientResponse:
    return ClientResponse(status, (("Content-Type", JSON_TYPE),), dumps(document))
