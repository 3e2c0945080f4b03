"""Anthropic's Messages API behind OpenAI's door: an upstream class to be named in a configuration.

`request.py` and `messages.py` say what is asked, `replies.py` reads what comes back; here is what belongs to the
provider and to no single call: addresses, keys, headers, models. Source: Anthropic API reference (Messages, Models,
Errors, Versions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from anthropic_upstream.replies import read, told_error
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
#: The status of "overloaded" at Anthropic; clients and monitors of OpenAI's kind know 503.
OVERLOADED = 529
#: The longest page of GET /v1/models.
MOST_MODELS = 1000

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Anthropic:
    """Anthropic, or a server that speaks as it does.

    Without an `api_key` the client's own one goes up. The options: `max_tokens` is how much may be written where the
    client does not say; `version` and `beta` are the headers `anthropic-version` and `anthropic-beta`, to which a
    client may add features; `models` are listed even when the upstream can't be asked.
    """

    base_url: str = "https://api.anthropic.com"
    api_key: str = field(default="", repr=False)
    max_tokens: int = 4096
    version: str = "2023-06-01"
    beta: str = ""
    models: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check what was configured. Raises ValueError, which names the option and shows no value."""
        try:
            BaseUrl.parse(str(self.base_url))
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        is_list = isinstance(self.models, Sequence) and not isinstance(self.models, str)
        rules = {
            "api_key must be a string": isinstance(self.api_key, str),
            "max_tokens must be a whole number of at least 1": type(self.max_tokens) is int and self.max_tokens > 0,
            # YAML makes a date of a version that is not quoted.
            "version must be a date like 2023-06-01": bool(_VERSION.fullmatch(str(self.version))),
            "beta must be names of features, parted by commas": isinstance(self.beta, str),
            "models must be a list of names": is_list and all(isinstance(name, str) for name in self.models),
        }
        for rule, is_kept in rules.items():
            if not is_kept:
                raise ValueError(rule)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask for a message. Raises BadRequest for what Anthropic has no words for."""
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
        """Put an error answer into OpenAI's shape, its headers (`retry-after`, `request-id`) kept."""
        error = told_error(loads_or_none(body))
        told = encode_json({"error": error}) if error and status >= 400 else body
        return error_from_reply(503 if status == OVERLOADED else status, headers, told)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Refuse: there is no such thing."""
        raise BadRequest("Anthropic has no embeddings.", param="input")

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Ask for all models, or for the one the client asked for."""
        path = "/v1" + validate_path(request.path).rstrip("/").removeprefix("/v1")
        query = f"limit={MOST_MODELS}" if path == "/v1/models" else ""
        return UpstreamRequest("GET", self._url(path, query), self._headers(request.headers))

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Read the reply to model_list_request: a list, or the one model of a name."""
        told = Document(listed).chunk
        models: Any = [told] if name else told.get("data")
        if not isinstance(models, list) or not all(map(_is_model, models)):
            raise UpstreamProtocolError("The upstream's reply holds no models.")
        entries = [_entry(model, created) for model in models]
        return Document.of(entries[0] if name else {"object": "list", "data": entries})

    def static_models(self, created: int) -> Sequence[Json]:
        """Give the models of the configuration."""
        return [_entry({"id": name}, created) for name in self.models]

    def probe_request(self) -> UpstreamRequest:
        """Ask for one model: nothing is written, so it costs nothing."""
        return UpstreamRequest("GET", self._url("/v1/models", "limit=1"), self._headers(()))

    def _url(self, path: str, query: str = "") -> str:
        return BaseUrl.parse(self.base_url).url(path, query)

    def _headers(self, headers: Headers) -> Headers:
        """Give what every request carries; of the client's only who made it, its request's id and its features."""
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
    """Find the client's own key, as either provider's clients send it."""
    scheme, _, token = get_header(headers, "authorization").partition(" ")
    return get_header(headers, "x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def _is_model(model: Any) -> bool:
    return isinstance(model, dict) and isinstance(model.get("id"), str)


def _entry(model: Json, created: int) -> Json:
    """Give a model as OpenAI lists it; `created` where Anthropic does not say when it came."""
    named = {key: model[key] for key in ("display_name",) if key in model}
    return {
        "id": model["id"],
        "object": "model",
        "created": _seconds(model.get("created_at"), created),
        "owned_by": "anthropic",
        **named,
    }


def _seconds(time: Any, default: int) -> int:
    """Read an RFC 3339 time."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError):
        return default
