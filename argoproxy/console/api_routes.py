"""The paths below `/api/` and what answers them: JSON with an ETag, so that a page that polls is sent only what is new.

Whether a request may ask at all is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from argoproxy.config.values.config_error import ConfigError
from argoproxy.console.data_views import DataViews, Query
from argoproxy.console.proxy_client import BodyPieces
from argoproxy.errors import BadRequest, MethodNotAllowed, NotFound, ProxyError, StateUnavailable, to_openai
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import JsonError, dumps, loads_strict

PREFIX = "/api/"
#: Bytes that the body of a request may have; chats hold images.
BODY_LIMIT = 32 * 1024 * 1024
_EXCHANGE = "exchange/"
_JSON: Headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_FIELDS = 20

View = Callable[[Query], Any]
Action = Callable[[Any], Any]


class ApiAnswer(NamedTuple):
    """An answer: its body is whole, or comes in pieces, which must be closed."""

    status: int
    headers: Headers
    body: bytes | BodyPieces


class ApiRoutes:
    """The routes of one console."""

    def __init__(self, views: DataViews, others: Mapping[str, View]) -> None:
        """`others` are more views, by their names below `/api/`."""
        self._exchange = views.exchange
        self._views: Mapping[str, View] = {
            "models": lambda _: views.models(),
            "upstreams": lambda _: views.upstreams(),
            "keys": views.keys,
            "usage": views.usage,
            "settings": views.settings,
            "log": views.log,
            "doctor": lambda _: views.doctor(),
            **others,
        }
        self._actions: Mapping[str, Action] = {"try": views.try_chat, "doctor": views.run_doctor}

    def read(self, path: str, query: str, known: str) -> ApiAnswer:
        """Answer a GET for a path; `known` is its If-None-Match."""
        try:
            view = self._find_view(path)
            body = _encode(view(dict(parse_qsl(query, max_num_fields=_FIELDS))))
        except (ProxyError, ConfigError, ValueError) as error:
            return _refuse(error)
        tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        headers = (*_JSON, ("ETag", tag))
        return ApiAnswer(304, headers, b"") if tag in known else ApiAnswer(200, headers, body)

    def act(self, path: str, body: bytes) -> ApiAnswer:
        """Answer a POST for a path."""
        try:
            answer = self._find_action(path)(_parse(body))
        except (ProxyError, ConfigError) as error:
            return _refuse(error)
        if isinstance(answer, dict):
            return ApiAnswer(200, _JSON, _encode(answer))
        return ApiAnswer(answer.status, (*answer.headers, ("Cache-Control", "no-store")), answer.pieces)

    def _find_view(self, path: str) -> View:
        name = path.removeprefix(PREFIX)
        if name.startswith(_EXCHANGE):
            request_id = unquote(name.removeprefix(_EXCHANGE))
            return lambda _: self._exchange(request_id)
        if view := self._views.get(name):
            return view
        raise _no_route(name, "GET", self._actions, "POST")

    def _find_action(self, path: str) -> Action:
        name = path.removeprefix(PREFIX)
        if action := self._actions.get(name):
            return action
        raise _no_route(name, "POST", self._views, "GET")


def _no_route(name: str, method: str, others: Mapping[str, Any], other: str) -> ProxyError:
    if name in others:
        return MethodNotAllowed(f"This path does not accept {method}; use {other}.", (other,))
    return NotFound("The console has no such path.")


def _parse(body: bytes) -> Any:
    try:
        return loads_strict(body) if body.strip() else {}
    except JsonError:
        raise BadRequest("The body must be a JSON object.") from None


def _encode(document: Any) -> bytes:
    return dumps(document)


def _refuse(error: Exception) -> ApiAnswer:
    """Return an error in the shape of all others; settings that can't be used are those of the proxy."""
    if isinstance(error, ProxyError):
        failure = error
    elif isinstance(error, ConfigError):
        failure = StateUnavailable(f"The settings can't be used: {'; '.join(error.mistakes)}.")
    else:
        failure = BadRequest("The query has too many fields.")
    return ApiAnswer(failure.status, (*_JSON, *failure.headers), _encode(to_openai(failure)))
