"""The class: options, what every request carries, models, error answers."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from anthropic_upstream import Anthropic

from argoproxy.api import (
    BadRequest,
    BytesBody,
    Call,
    ClientRequest,
    Headers,
    UpstreamProtocolError,
    UpstreamRequest,
    UpstreamStatus,
)

UPSTREAM = Anthropic(base_url="https://up", api_key="sk-ant-ours")
OPEN = Anthropic(base_url="https://up/v1/")
CLIENT = (
    ("Authorization", "Bearer theirs"),
    ("User-Agent", "openai"),
    ("X-Request-Id", "r1"),
    ("anthropic-beta", "fast"),
    ("OpenAI-Organization", "o"),
    ("Accept-Encoding", "gzip"),
)


def asked(upstream: Anthropic, headers: Headers = CLIENT, path: str = "/v1/chat/completions") -> UpstreamRequest:
    body = {"model": "claude", "messages": [{"role": "user", "content": "Hi"}]}
    return upstream.completion_request(Call("id", 7, path, "q=1", headers, body, None))


def about_models(path: str, headers: Headers = ()) -> ClientRequest:
    return ClientRequest("id", 7, "GET", path, "a=b", headers, BytesBody(b""))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_url": "api.anthropic.com"}, "base_url: "),
        ({"base_url": None}, "base_url: "),
        ({"base_url": "https://"}, "base_url: "),
        ({"api_key": 5}, "api_key must be a string"),
        ({"max_tokens": 0}, "max_tokens must be a whole number of at least 1"),
        ({"max_tokens": "many"}, "max_tokens must be"),
        ({"max_tokens": True}, "max_tokens must be"),
        ({"version": "newest"}, "version must be a date like 2023-06-01"),
        ({"beta": ["a"]}, "beta must be names"),
        ({"models": "claude"}, "models must be a list of names"),
        ({"models": 5}, "models must be"),
        ({"models": [5]}, "models must be"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Anthropic(**options)


def test_an_unknown_option_is_named() -> None:
    options: dict[str, Any] = {"max_token": 5}
    with pytest.raises(TypeError, match="max_token"):
        Anthropic(**options)


def test_a_key_does_not_show() -> None:
    assert "sk-ant" not in repr(UPSTREAM)


def test_a_request_carries_our_key_and_little_of_the_client() -> None:
    request = asked(UPSTREAM)
    assert (request.method, request.url) == ("POST", "https://up/v1/messages")
    assert dict(request.headers) == {
        "User-Agent": "openai",
        "X-Request-Id": "r1",
        "Accept-Encoding": "identity",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "fast",
        "x-api-key": "sk-ant-ours",
        "Content-Type": "application/json",
    }
    assert isinstance(request.body, bytes)
    assert request.length == len(request.body)
    assert json.loads(request.body) == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ((("Authorization", "Bearer theirs"),), "theirs"),
        ((("authorization", "bearer  theirs"),), "theirs"),
        ((("X-API-Key", "theirs"), ("Authorization", "Bearer other")), "theirs"),
        ((("Authorization", "Basic abc"),), None),
        ((), None),
    ],
)
def test_without_a_key_the_clients_own_one_goes_up(headers: Headers, key: str | None) -> None:
    request = asked(OPEN, headers)
    assert request.url == "https://up/v1/messages"
    assert dict(request.headers).get("x-api-key") == key
    assert "Authorization" not in dict(request.headers)


def test_features_of_the_configuration_and_of_the_client_add_up() -> None:
    version: Any = date(2026, 10, 21)
    upstream = Anthropic(base_url="https://up", beta="ours", version=version)
    assert dict(asked(upstream).headers)["anthropic-beta"] == "ours,fast"
    assert dict(asked(upstream, ()).headers)["anthropic-beta"] == "ours"
    assert dict(asked(upstream, ()).headers)["anthropic-version"] == "2026-10-21"


def test_chats_only() -> None:
    for path in ("/v1/completions", "/v1/embeddings"):
        with pytest.raises(BadRequest, match="chats only"):
            asked(UPSTREAM, path=path)
    with pytest.raises(BadRequest, match="no embeddings") as caught:
        UPSTREAM.embedding_requests(Call("id", 7, "/v1/embeddings", "", (), {"input": "a"}, None))
    assert caught.value.param == "input"


def test_a_body_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"a": schema}
    body = {"messages": [], "output_config": schema}
    with pytest.raises(BadRequest, match="nested too deeply"):
        UPSTREAM.completion_request(Call("id", 7, "/v1/chat/completions", "", (), body, None))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1/models", "https://up/v1/models?limit=1000"),
        ("/models/", "https://up/v1/models?limit=1000"),
        ("/v1/models/claude-4", "https://up/v1/models/claude-4"),
        ("/models/a%2Fb", "https://up/v1/models/a%2Fb"),
    ],
)
def test_models_are_asked_for(path: str, url: str) -> None:
    for upstream in (UPSTREAM, OPEN):
        request = upstream.model_list_request(about_models(path, CLIENT))
        assert (request.method, request.url, request.body) == ("GET", url, None)
    assert dict(request.headers)["x-api-key"] == "theirs"
    assert dict(request.headers)["anthropic-version"] == "2023-06-01"


def test_a_probe_is_free_and_tells_nothing_of_a_client() -> None:
    request = UPSTREAM.probe_request()
    assert (request.method, request.url) == ("GET", "https://up/v1/models?limit=1")
    assert dict(request.headers)["x-api-key"] == "sk-ant-ours"
    assert "x-api-key" not in dict(OPEN.probe_request().headers)


CLAUDE = {"type": "model", "id": "claude-4", "display_name": "Claude 4", "created_at": "2026-02-19T00:00:00Z"}
ENTRY = {"id": "claude-4", "object": "model", "created": 1771459200, "owned_by": "anthropic"}


def test_a_list_of_models() -> None:
    page = {"data": [CLAUDE, {"id": "b", "created_at": 5}, {"id": "c", "created_at": "?"}], "has_more": False}
    listed = UPSTREAM.read_model_list(json.dumps(page).encode(), "", 7)
    bare = {"object": "model", "created": 7, "owned_by": "anthropic"}
    assert listed.chunk == {
        "object": "list",
        "data": [{**ENTRY, "display_name": "Claude 4"}, {"id": "b", **bare}, {"id": "c", **bare}],
    }


def test_one_model() -> None:
    found = UPSTREAM.read_model_list(json.dumps(CLAUDE).encode(), "claude-4", 7)
    assert found.chunk == {**ENTRY, "display_name": "Claude 4"}


@pytest.mark.parametrize("name", ["", "claude-4"])
@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b'{"data": 5}', b'{"data": [5]}', b'{"data": [{"id": 5}]}'])
def test_a_reply_without_models(reply: bytes, name: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        UPSTREAM.read_model_list(reply, name, 7)


def test_models_of_the_configuration() -> None:
    upstream = Anthropic(models=["a", "b"])
    assert [entry["id"] for entry in upstream.static_models(7)] == ["a", "b"]
    assert upstream.static_models(7)[0]["created"] == 7
    assert not UPSTREAM.static_models(7)


def told(kind: str, message: str = "words") -> bytes:
    document = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("status", "body", "shown", "error"),
    [
        (400, told("invalid_request_error"), 400, {"message": "words", "type": "invalid_request_error", "code": None}),
        (401, told("authentication_error"), 401, {"type": "authentication_error"}),
        (429, told("rate_limit_error"), 429, {"type": "rate_limit_error"}),
        (529, told("overloaded_error", "Overloaded"), 503, {"message": "Overloaded", "type": "overloaded_error"}),
        (
            400,
            told("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            400,
            {"code": "context_length_exceeded"},
        ),
        (413, b"<html>too large</html>", 413, {"message": "The upstream answered with status 413."}),
        (529, b"", 503, {"type": "server_error"}),
        (500, b'{"type": "error", "error": {"message": "words"}}', 500, {"message": "words", "type": "upstream_error"}),
    ],
)
def test_error_answers_get_openais_form(status: int, body: bytes, shown: int, error: dict[str, Any]) -> None:
    headers = (("Retry-After", "7"), ("request-id", "req_1"), ("Content-Length", "9"), ("Server", "x"))
    made = UPSTREAM.read_error(status, headers, body)
    assert isinstance(made, UpstreamStatus)
    assert made.status == shown
    assert made.headers == (("Retry-After", "7"), ("request-id", "req_1"), ("Content-Type", "application/json"))
    found = json.loads(made.body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found == {**found, **error}


def test_a_redirect_passes_untouched() -> None:
    made = UPSTREAM.read_error(307, (("Location", "/x"),), told("moved"))
    assert isinstance(made, UpstreamStatus)
    assert (made.status, made.body) == (307, told("moved"))
