"""The routes of the proxy and the view of each; everything that is not served here is forwarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Response
from flask import request as flask_request

from argoproxy import __version__
from argoproxy.errors import MethodNotAllowed, MetricsUnavailable, NotFound
from argoproxy.pipeline import handlers
from argoproxy.pipeline.paths import count_tokens, embedding_calls, gateway, model_lists, relay
from argoproxy.pipeline.shared.health import Health, add_states, liveness
from argoproxy.protocol.api.endpoints import CHAT, COMPLETIONS, JSON_TYPE
from argoproxy.protocol.http_messages import ClientResponse
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.messages.endpoint import MESSAGES
from argoproxy.protocol.responses.responses_endpoint import RESPONSES
from argoproxy.telemetry.metrics import CONTENT_TYPE, Metrics
from argoproxy.web.admin_views import manage_keys
from argoproxy.web.flask_app import ANY_METHOD
from argoproxy.web.flask_io import WebRequest, make_client_request, respond

View = Callable[..., ClientResponse]

GET_OR_HEAD = ("GET", "HEAD")
FORWARDED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: The route of a forwarded request, in metrics and in the log.
FORWARDED = "/{path}"
HTML_TYPE = "text/html"
ABOUT = {
    "name": "argoproxy",
    "message": "argoproxy is running. Its OpenAI-compatible API is at /v1.",
    "version": __version__,
    "about": "An OpenAI-compatible proxy in front of any LLM endpoint.",
    "api": "/v1",
    "health": "/health",
    "documentation": {
        "proxy": "README.md and docs/ in the repository of argoproxy",
        "api": "https://platform.openai.com/docs/api-reference",
    },
    "metrics": "/metrics",
}
INDEX_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>argoproxy</title>
<h1>argoproxy is running</h1>
<p>Version {__version__}, an OpenAI-compatible proxy in front of any LLM endpoint.</p>
<p>Base URL for clients: the address of this page, followed by <code>v1</code>.</p>
<ul>
<li><a href="v1/models">v1/models</a>: the models that can be used (needs a key if keys are required)</li>
<li><a href="health">health</a>: whether the endpoint can be reached</li>
<li><a href="metrics">metrics</a>: counts for Prometheus</li>
<li><a href="https://platform.openai.com/docs/api-reference">the API</a>; the documentation of the proxy itself is
README.md and docs/ in the repository of argoproxy</li>
</ul>
</html>
"""
#: The page loads and runs nothing, and other sites can't frame it.
INDEX_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept"),
)


class Views:
    """The blueprint with all routes; `labels` maps Flask's name of a route to its name in metrics and logs."""

    def __init__(self, metrics: Metrics | None) -> None:
        self.labels: dict[str, str] = {}
        self._metrics = metrics

    def blueprint(self) -> Blueprint:
        """Return the routes; each path below `/v1` is served without it too."""
        routes: Sequence[tuple[str, str | Sequence[str], View]] = (
            # The proxy's own paths.
            ("/", GET_OR_HEAD, self.index),
            ("/health", GET_OR_HEAD, self.health),
            ("/health/live", GET_OR_HEAD, self.liveness),
            ("/health/ready", GET_OR_HEAD, self.readiness),
            ("/health/{rest}", GET_OR_HEAD, self.unknown_health_path),
            ("/health", ANY_METHOD, self.method_not_allowed),
            ("/health/{rest}", ANY_METHOD, self.method_not_allowed),
            ("/metrics", GET_OR_HEAD, self.metrics),
            ("/metrics", ANY_METHOD, self.method_not_allowed),
            # Managed keys; forwarded if no key for this is configured.
            ("/admin/keys", ANY_METHOD, self.keys),
            ("/admin/keys/{rest}", ANY_METHOD, self.keys),
            # OpenAI's API.
            ("/v1/chat/completions", "POST", self.chat_completions),
            ("/v1/completions", "POST", self.completions),
            ("/v1/embeddings", "POST", self.embeddings),
            ("/v1/responses", "POST", self.responses),
            ("/v1/messages", "POST", self.messages),
            ("/v1/messages/count_tokens", "POST", self.count_tokens),
            ("/v1/models", "GET", self.models),
            ("/v1/models/{name}", "GET", self.model),
            # Argo's API; forwarded if no Argo gateway is configured.
            ("/v1/chat", "POST", self.argo_chat),
            ("/v1/status", "GET", self.argo_status),
            # Everything else.
            ("/", ANY_METHOD, self.relay),
            (FORWARDED, ANY_METHOD, self.relay),
        )
        blueprint = Blueprint("views", __name__)
        for path, methods, view in routes:
            label = FORWARDED if view == self.relay else path
            for served in dict.fromkeys((path, path.removeprefix("/v1"))):
                self._add_route(blueprint, served, methods, view, label)
        return blueprint

    def index(self, request: WebRequest) -> ClientResponse:
        if flask_request.accept_mimetypes.best_match((JSON_TYPE, HTML_TYPE)) == HTML_TYPE:
            return ClientResponse(200, INDEX_HEADERS, INDEX_PAGE.encode())
        return _json_response(200, ABOUT)

    def health(self, request: WebRequest) -> ClientResponse:
        return _health_response(add_states(request.proxy.probe.health(), request.proxy.describe_states()))

    def liveness(self, request: WebRequest) -> ClientResponse:
        return _health_response(liveness())

    def readiness(self, request: WebRequest) -> ClientResponse:
        return _health_response(request.proxy.probe.readiness())

    def metrics(self, request: WebRequest) -> ClientResponse:
        if self._metrics is None:
            raise MetricsUnavailable("Metrics are disabled; the startup log says why.")
        states, stores = request.proxy.describe_states(), request.proxy.describe_stores()
        if flask_request.accept_mimetypes.best_match(("text/plain", JSON_TYPE)) == JSON_TYPE:
            return _json_response(200, self._metrics.summary(states))
        return ClientResponse(200, (("Content-Type", CONTENT_TYPE),), self._metrics.to_text(states, stores))

    def unknown_health_path(self, request: WebRequest, rest: str) -> ClientResponse:
        raise NotFound("Unknown path. /health checks the upstreams; /health/live and /health/ready do not.")

    def method_not_allowed(self, request: WebRequest, rest: str = "") -> ClientResponse:
        raise MethodNotAllowed(f"{request.method} is not allowed on this path; use GET.", GET_OR_HEAD)

    def keys(self, request: WebRequest, rest: str = "") -> ClientResponse:
        if request.proxy.key_desk is None:
            return self.relay(request)
        return manage_keys(make_client_request(request), rest, request.proxy.key_desk.admin)

    def chat_completions(self, request: WebRequest) -> ClientResponse:
        return handlers.handle_chat(make_client_request(request), CHAT, request.proxy, request.context)

    def completions(self, request: WebRequest) -> ClientResponse:
        return handlers.handle_chat(make_client_request(request), COMPLETIONS, request.proxy, request.context)

    def responses(self, request: WebRequest) -> ClientResponse:
        return handlers.handle_chat(make_client_request(request), RESPONSES, request.proxy, request.context)

    def embeddings(self, request: WebRequest) -> ClientResponse:
        return embedding_calls.handle_embeddings(make_client_request(request), request.proxy, request.context)

    def messages(self, request: WebRequest) -> ClientResponse:
        return handlers.handle_chat(make_client_request(request), MESSAGES, request.proxy, request.context)

    def count_tokens(self, request: WebRequest) -> ClientResponse:
        return count_tokens.count_tokens(make_client_request(request), request.proxy, request.context)

    def models(self, request: WebRequest) -> ClientResponse:
        return model_lists.list_models(make_client_request(request), request.proxy, request.context)

    def model(self, request: WebRequest, name: str) -> ClientResponse:
        return model_lists.show_model(make_client_request(request), name.rstrip("/"), request.proxy, request.context)

    def argo_chat(self, request: WebRequest) -> ClientResponse:
        if request.proxy.gateway is None:
            return self.relay(request)
        return gateway.handle_raw_chat(make_client_request(request), request.proxy, request.context)

    def argo_status(self, request: WebRequest) -> ClientResponse:
        if request.proxy.gateway is None:
            return self.relay(request)
        return gateway.handle_gateway_status(make_client_request(request), request.proxy, request.context)

    def relay(self, request: WebRequest, path: str = "") -> ClientResponse:
        if request.method == "CONNECT":
            raise MethodNotAllowed("CONNECT is not supported.", FORWARDED_METHODS)
        return relay.relay(make_client_request(request), request.proxy, request.context)

    def _add_route(self, blueprint: Blueprint, path: str, methods: str | Sequence[str], view: View, label: str) -> None:
        name = f"{view.__name__} {len(self.labels)}"
        self.labels[f"{blueprint.name}.{name}"] = label
        rule = path.replace("{", "<path:").replace("}", ">")
        method_list = [methods] if isinstance(methods, str) else list(methods)
        blueprint.add_url_rule(rule, name, lambda **names: _serve(view, names), methods=method_list)


def _serve(view: View, names: Mapping[str, str]) -> Response:
    request: WebRequest = flask_request.web  # type: ignore[attr-defined]
    return respond(view(request, **names), request)


def _health_response(health: Health) -> ClientResponse:
    return _json_response(health.status, health.document)


def _json_response(status: int, document: Json) -> ClientResponse:
    return ClientResponse(status, (("Content-Type", JSON_TYPE),), dumps(document))
