"""The class: what it sends, and the models that it lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ollama_upstream import Ollama

from argoproxy.api import (
    BadRequest,
    BytesBody,
    Call,
    ClientRequest,
    NotFound,
    UpstreamProtocolError,
    UpstreamStatus,
    make_call,
)

UPSTREAM = Ollama("http://up:1/", api_key="sk-1", num_ctx=5, keep_alive="1m")
CHAT = "/v1/chat/completions"


def call(path: str = CHAT, **body: Any) -> Call:
    request = ClientRequest("id", 7, "POST", path, "", (("Authorization", "Bearer own"),), BytesBody(b""))
    return make_call(request, {"model": "llama", "messages": [{"role": "user", "content": "Hi"}], **body}, path)


def test_a_chat_has_the_options_of_the_file_unless_the_client_has_its_own() -> None:
    request = UPSTREAM.completion_request(call())
    assert isinstance(request.body, bytes)
    body = json.loads(request.body)
    assert (body["options"], body["keep_alive"], body["stream"]) == ({"num_ctx": 5}, "1m", False)
    assert (request.method, request.url, request.length) == ("POST", "http://up:1/api/chat", len(request.body))
    assert dict(request.headers)["Authorization"] == "Bearer sk-1"
    assert request.secret == b"sk-1"
    own = UPSTREAM.completion_request(call(num_ctx=9, keep_alive=0))
    assert isinstance(own.body, bytes)
    assert (json.loads(own.body)["options"], json.loads(own.body)["keep_alive"]) == ({"num_ctx": 9}, 0)


def test_a_plain_server_gets_neither_key_nor_options() -> None:
    request = Ollama().completion_request(call())
    assert isinstance(request.body, bytes)
    assert json.loads(request.body).keys() == {"model", "messages", "stream"}
    assert request.url == "http://localhost:11434/api/chat"
    assert "Authorization" not in dict(request.headers)


def test_other_requests_are_refused() -> None:
    with pytest.raises(BadRequest):
        UPSTREAM.completion_request(call("/v1/completions"))
    with pytest.raises(BadRequest):
        UPSTREAM.embedding_requests(call("/v1/embeddings"))


def test_an_error_gets_openais_form() -> None:
    error = UPSTREAM.read_error(404, (), b'{"error": "model not found"}')
    assert isinstance(error, UpstreamStatus)
    assert (error.status, json.loads(error.body)["error"]["message"]) == (404, "model not found")


TAGS = {"models": [{"name": "llama:latest", "modified_at": "1970-01-01T00:00:09Z"}, {"name": "b:1b"}]}


def test_models_are_listed_as_openai_lists_them() -> None:
    request = UPSTREAM.model_list_request(ClientRequest("id", 1, "GET", "/v1/models", "", (), BytesBody(b"")))
    assert (request.method, request.url, request.body) == ("GET", "http://up:1/api/tags", None)
    first, second = UPSTREAM.read_model_list(json.dumps(TAGS).encode(), "", 7).chunk["data"]
    assert first == {"id": "llama:latest", "object": "model", "created": 9, "owned_by": "ollama"}
    assert (second["id"], second["created"]) == ("b:1b", 7)
    assert UPSTREAM.read_model_list(json.dumps(TAGS).encode(), "llama", 7).chunk == first
    with pytest.raises(NotFound):
        UPSTREAM.read_model_list(json.dumps(TAGS).encode(), "c", 7)
    for broken in (b"rubbish", b"[]", b"{}", b'{"models": [{}]}'):
        with pytest.raises(UpstreamProtocolError):
            UPSTREAM.read_model_list(broken, "", 7)
    assert UPSTREAM.probe_request().url == "http://up:1/api/version"


@pytest.mark.parametrize(("options", "name"), [({"base_url": "up"}, "base_url"), ({"num_ctx": True}, "num_ctx")])
def test_a_wrong_option_is_named(options: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Ollama(**options)
