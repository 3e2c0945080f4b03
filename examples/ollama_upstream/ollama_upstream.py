"""Ollama's own API for clients of OpenAI's: an upstream class for the config file.

This module has the class: URLs, headers, models, errors. `ollama_requests.py` converts requests, `ollama_replies.py`
replies. Source: Ollama API reference, https://docs.ollama.com/api (chat, tags, version, errors).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from ollama_replies import read_replies
from ollama_requests import build_chat

from argoproxy.api import (
    BadRequest,
    BaseUpstream,
    BaseUrl,
    Batch,
    Call,
    ClientRequest,
    Document,
    Json,
    JsonError,
    NotFound,
    Reply,
    UpstreamProtocolError,
    UpstreamRequest,
    dumps,
    loads_or_none,
    validate_path,
)

CHAT_PATH = "/v1/chat/completions"


class Ollama(BaseUpstream):
    """The class for `kind: ollama_upstream:Ollama`; its arguments are the `options` in the file.

    What it does not define, it inherits: errors are read in the usual formats, embeddings and other paths are refused.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:11434",
        api_key: str = "",
        num_ctx: int | None = None,
        keep_alive: str | int | None = None,
    ) -> None:
        """`num_ctx` is the length of the context in tokens, `keep_alive` how long a model stays loaded (`30m`, or
        seconds): two things that Ollama's OpenAI-compatible API can't be told. `api_key` is for Ollama's cloud.
        Raises ValueError, which names the option and does not show its value."""
        try:
            self._base = BaseUrl.parse(str(base_url))
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        if num_ctx is not None and (type(num_ctx) is not int or num_ctx < 1):
            raise ValueError("num_ctx must be a whole number of at least 1")
        self._api_key = str(api_key)
        self._num_ctx = num_ctx
        self._keep_alive = keep_alive

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a chat. Raises BadRequest for what Ollama does not support."""
        if call.path != CHAT_PATH:
            raise BadRequest("Here are chats only: send `messages` to /v1/chat/completions.", param="prompt")
        chat = build_chat(call.body)
        if self._num_ctx is not None:
            chat["options"] = {"num_ctx": self._num_ctx, **chat.get("options", {})}
        if self._keep_alive is not None:
            chat.setdefault("keep_alive", self._keep_alive)
        try:
            return self._request("POST", "/api/chat", dumps(chat))
        except JsonError as error:
            raise BadRequest(f"The request body can't be sent on: {error}.") from None

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a chat, streamed or whole."""
        return read_replies(reply.iter_bytes(), call)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for all models: that for one returns other fields."""
        validate_path(request.path)
        return self._request("GET", "/api/tags")

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Read the list of models, and pick one of them if there is a name. Raises NotFound."""
        document = loads_or_none(body)
        models = document.get("models") if isinstance(document, dict) else None
        if not isinstance(models, list) or not all(map(_is_model, models)):
            raise UpstreamProtocolError("The upstream's reply holds no models.")
        entries = [_entry(model, created) for model in models]
        if not name:
            return Document.of({"object": "list", "data": entries})
        for entry in entries:
            if entry["id"] in (name, f"{name}:latest"):
                return Document.of(entry)
        raise NotFound(f"The model {name!r} does not exist.", param="model", code="model_not_found")

    def probe_request(self) -> UpstreamRequest:
        """Build a request that costs nothing, for /health."""
        return self._request("GET", "/api/version")

    def _request(self, method: str, path: str, body: bytes | None = None) -> UpstreamRequest:
        """Build a request. The client's headers stay here: Ollama needs none of them."""
        headers = [("User-Agent", "argoproxy"), ("Accept-Encoding", "identity")]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        if self._api_key:
            headers.append(("Authorization", f"Bearer {self._api_key}"))
        length = None if body is None else len(body)
        url = self._base.url(path, "")
        return UpstreamRequest(method, url, tuple(headers), body, length, secret=self._api_key.encode())


def _is_model(model: Any) -> bool:
    return isinstance(model, dict) and isinstance(model.get("name"), str)


def _entry(model: Json, created: int) -> Json:
    """Convert a model to an entry of OpenAI's list; `created` is the default for its time."""
    with suppress(KeyError, TypeError, ValueError):
        created = int(datetime.fromisoformat(model["modified_at"]).timestamp())
    return {"id": model["name"], "object": "model", "created": created, "owned_by": "ollama"}
