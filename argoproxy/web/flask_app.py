"""Flask, with what it would compute anew for each request remembered where it is the same for the next one.

All ways to extend Flask stay: `wsgi_app`, hooks, error handlers, signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from inspect import CO_COROUTINE
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface
from werkzeug.routing import MapAdapter, PathConverter
from werkzeug.routing import Rule as UrlRule

from argoproxy.web.flask_io import WebRequest

#: `*` in place of methods: any.
ANY_METHOD = "*"
#: What Werkzeug reads of an environ to find the rule of a request, or to make the URL of a redirect.
_TARGET = (
    "REQUEST_METHOD PATH_INFO HTTP_HOST wsgi.url_scheme SERVER_NAME SERVER_PORT SCRIPT_NAME QUERY_STRING"
    " HTTP_CONNECTION HTTP_UPGRADE"
).split()
#: Targets that are remembered, and how long all parts of one may be together: clients choose them.
MAX_TARGETS = 256
LONGEST_TARGET = 1024

Target = tuple[str, ...]


class ExactRule(UrlRule):
    """A rule for exactly the methods it names: Werkzeug would add HEAD to GET. `*` means any method."""

    def __init__(self, string: str, methods: Iterable[str] | None = None, **options: Any) -> None:
        super().__init__(string, methods=methods, **options)
        self.methods = None if methods is None or ANY_METHOD in methods else set(methods)

    def _compile_builder(self, *args: Any, **options: Any) -> Callable[..., tuple[str, str]]:
        """Return what makes a URL of the rule. Werkzeug compiles code for it, which would be most of what a worker's
        application takes to build; nothing here asks for such a URL, so that is left until someone does."""
        compile_builder = super()._compile_builder
        return lambda rule, /, **values: compile_builder(*args, **options)(rule, **values)


class AnyPath(PathConverter):
    """The rest of a path, with any character that its escapes stand for, line breaks too."""

    regex = "[^/](?s:.)*?"


class MatchedTarget(MapAdapter):
    """The adapter of a request's target, made of Werkzeug's own one. It looks for its rule once."""

    def __init__(self, adapter: MapAdapter, host: str) -> None:
        self.__dict__.update(adapter.__dict__)
        self.host = host
        self._match: tuple[UrlRule, Any] | None = None

    def match(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        if args or options != {"return_rule": True}:
            return super().match(*args, **options)
        rule, values = self._match = self._match or super().match(return_rule=True)
        return rule, dict(values)  # hooks of Flask's may take values out


class KeyedSessions(SecureCookieSessionInterface):
    """Flask's sessions; without a secret key there are none, and all requests share what says so."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if app.secret_key else self._none


class FlaskRequest(Request):
    """Flask's request, with the proxy's own, which views and helpers get as an argument."""

    web: WebRequest

    @cached_property
    def blueprints(self) -> list[str]:
        """The names of its route's blueprints. Flask asks three times for them, after it has found the route."""
        return super().blueprints


class ProxyFlask(Flask):
    """Flask with rules for exact methods and any path, and a memory for targets."""

    request_class = FlaskRequest
    url_rule_class = ExactRule  # type: ignore[assignment]
    session_interface = KeyedSessions()

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
        self.url_map.converters["path"] = AnyPath
        self.url_map.merge_slashes = False
        self.url_map.strict_slashes = False
        self._targets: dict[Target, MatchedTarget] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter that finds the rule of a request. Raises HTTPException for an invalid host."""
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        target = tuple([environ.get(variable, "") for variable in _TARGET])
        known = self._targets.get(target)
        if known is None:
            return self._remember(target, request)
        request.host = known.host
        return known

    def _remember(self, target: Target, request: Request) -> MapAdapter | None:
        adapter = super().create_url_adapter(request)
        has_query = bool(request.query_string)  # which may hold a key
        if adapter is None or has_query or sum(map(len, target)) > LONGEST_TARGET:
            return adapter
        if len(self._targets) >= MAX_TARGETS:
            self._targets.clear()
        known = self._targets[target] = MatchedTarget(adapter, request.host)
        return known

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is no coroutine. Flask's own check takes five calls."""
        code = getattr(func, "__code__", None)
        return func if code and not code.co_flags & CO_COROUTINE else super().ensure_sync(func)
