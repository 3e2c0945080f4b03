"""Anthropic's Messages API for clients of OpenAI's API: an upstream class for the config file.

`request.py` and `messages.py` convert requests, `replies.py` converts replies; this module has URLs, keys, headers and
models. Source: Anthropic API reference (Messages, Models,
Errors, Versions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from anthropic_upstream.replies import find_error, read
from anthropic_upstream.request import messages_body
from argoproxy.api import (
    BadRequest,
    BaseUrl,
    Batch,
    Call,
    ClientRequest,
    Document,
    Headers,
    Json,
    JsonError,
    ProxyError,
    Reply,
    UpstreamProtocolError,
    UpstreamRequest,
    dumps,
    encode_json,
    error_from_reply,
    get_header,
    loads_or_none,
    validate_path,
)

CHAT_PATH = "/v1/chat/completions"
#: Anthropic's status for "overloaded"; OpenAI's clients and monitoring know 503.
OVERLOADED = 529
#: The longest page of GET /v1/models.
MOST_MODELS = 1000

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Anthropic:
    """Anthropic, or a server with the same API.

    Without an `api_key` the client's own key is sent. Options: `max_tokens` applies if the client sends none; `version`
    and `beta` are the headers `anthropic-version` and `anthropic-beta`, to which a client may add features; `models`
    are listed even if the upstream can't be reached.
    """

    base_url: str = "https://api.anthropic.com"
    api_key: str = field(default="", repr=False)
    max_tokens: int = 4096
    version: str = "2023-06-01"
    beta: str = ""
    models: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the options. Raises ValueError, which names the option and does not show its value."""
        try:
            BaseUrl.parse(str(self.base_url))
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        is_list = isinstance(self.models, Sequence) and not isinstance(self.models, str)
        rules = {
            "api_key must be a string": isinstance(self.api_key, str),
            "max_tokens must be a whole number of at least 1": type(self.max_tokens) is int and self.max_tokens > 0,
            # YAML parses a version without quotes as a date.
            "version must be a date like 2023-06-01": bool(_VERSION.fullmatch(str(self.version))),
            "beta must be names of features, separated by commas": isinstance(self.beta, str),
            "models must be a list of names": is_list and all(isinstance(name, str) for name in self.models),
        }
        for rule, is_kept in rules.items():
            if not is_kept:
                raise ValueError(rule)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a message. Raises BadRequest for what Anthropic does not support."""
        if call.path != CHAT_PATH:
            raise BadRequest("Anthropic answers chats only: send `messages` to /v1/chat/completions.", param="prompt")
        try:
            body = dumps(messages_body(call.body, self.max_tokens))
        except JsonError as error:
            raise BadRequest(f"The request body can't be sent on: {error}.") from None
        headers = (*self._headers(call.headers), ("Content-Type", "application/json"))
        return UpstreamRequest("POST", self._url("/v1/messages"), headers, body, len(body))

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a message, streamed or whole."""
        return read(reply, call)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Convert an error to OpenAI's format and keep its headers (`retry-after`, `request-id`)."""
        error = find_error(loads_or_none(body))
        converted = encode_json({"error": error}) if error and status >= 400 else body
        return error_from_reply(503 if status == OVERLOADED else status, headers, converted)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Raise BadRequest: Anthropic has no embeddings."""
        raise BadRequest("Anthropic has no embeddings.", param="input")

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for all models, or for the one that the client wants."""
        path = "/v1" + validate_path(request.path).rstrip("/").removeprefix("/v1")
        query = f"limit={MOST_MODELS}" if path == "/v1/models" else ""
        return UpstreamRequest("GET", self._url(path, query), self._headers(request.headers))

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Read a list of models, or one model if there is a name."""
        document = Document(listed).chunk
        models: Any = [document] if name else document.get("data")
        if not isinstance(models, list) or not all(map(_is_model, models)):
            raise UpstreamProtocolError("The upstream's reply holds no models.")
        entries = [_entry(model, created) for model in models]
        return Document.of(entries[0] if name else {"object": "list", "data": entries})

    def static_models(self, created: int) -> Sequence[Json]:
        """Return the models of the configuration."""
        return [_entry({"id": name}, created) for name in self.models]

    def probe_request(self) -> UpstreamRequest:
        """Build a request for a list of one model: it costs nothing."""
        return UpstreamRequest("GET", self._url("/v1/models", "limit=1"), self._headers(()))

    def _url(self, path: str, query: str = "") -> str:
        return BaseUrl.parse(self.base_url).url(path, query)

    def _headers(self, headers: Headers) -> Headers:
        """Return the headers of every request; of the client's own only the user agent, the request id and beta
        features."""
        beta = ",".join(filter(None, (self.beta, get_header(headers, "anthropic-beta"))))
        sent = (
            ("User-Agent", get_header(headers, "user-agent", "argoproxy")),
            ("X-Request-Id", get_header(headers, "x-request-id")),
            ("Accept-Encoding", "identity"),
            ("anthropic-version", str(self.version)),
            ("anthropic-beta", beta),
            ("x-api-key", self.api_key or _key_of(headers)),
        )
        return tuple((name, value) for name, value in sent if value)


def _key_of(headers: Headers) -> str:
    """Return the client's own key, as clients of either provider send it."""
    scheme, _, token = get_header(headers, "authorization").partition(" ")
    return get_header(headers, "x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def _is_model(model: Any) -> bool:
    return isinstance(model, dict) and isinstance(model.get("id"), str)


def _entry(model: Json, created: int) -> Json:
    """Convert a model to an entry of OpenAI's list; `created` is the default for its time."""
    named = {key: model[key] for key in ("display_name",) if key in model}
    return {
        "id": model["id"],
        "object": "model",
        "created": _seconds(model.get("created_at"), created),
        "owned_by": "anthropic",
        **named,
    }


def _seconds(time: Any, default: int) -> int:
    """Convert an RFC 3339 time to seconds; `default` if it is not one."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError):
        return default
