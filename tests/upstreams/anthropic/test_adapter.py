"""What every request carries, models, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, Headers
from argoproxy.protocol.routing.call import Call
from argoproxy.upstreams import Upstream, UpstreamRequest
from argoproxy.upstreams.anthropic.adapter import AnthropicOptions, AnthropicUpstream
from argoproxy.upstreams.anthropic.models import parse_time
from argoproxy.upstreams.base_url import BaseUrl

UPSTREAM = AnthropicUpstream(BaseUrl.parse("https://up"), "sk-ant-ours")
OPEN = AnthropicUpstream(BaseUrl.parse("https://up/v1/"))
CLIENT = (
    ("Authorization", "Bearer theirs"),
    ("User-Agent", "openai"),
    ("X-Request-Id", "r1"),
    ("anthropic-beta", "fast"),
    ("OpenAI-Organization", "o"),
    ("Accept-Encoding", "gzip"),
    ("Cookie", "c=1"),
    ("X-Title", "app"),
)


def asked(upstream: AnthropicUpstream, headers: Headers = CLIENT) -> UpstreamRequest:
    body = {"model": "claude", "messages": [{"role": "user", "content": "Hi"}]}
    return upstream.completion_request(Call("id", 7, "/v1/chat/completions", "q=1", headers, body, None))


def about_models(path: str, headers: Headers = ()) -> ClientRequest:
    return ClientRequest("id", 7, "GET", path, "a=b", headers, BytesBody(b""))


def test_a_key_does_not_show() -> None:
    assert "sk-ant" not in repr(UPSTREAM)


def test_a_request_carries_our_key_and_little_of_the_client() -> None:
    request = asked(UPSTREAM)
    assert (request.method, request.url) == ("POST", "https://up/v1/messages")
    assert dict(request.headers) == {
        "User-Agent": "openai",
        "X-Request-Id": "r1",
        "X-Title": "app",
        "Accept-Encoding": "identity",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "fast",
        "x-api-key": "sk-ant-ours",
        "Content-Type": "application/json",
    }
    assert isinstance(request.body, bytes)
    assert request.length == len(request.body)
    assert request.secret == b"sk-ant-ours"
    assert json.loads(request.body) == {
        "model": "claude",
        "max_tokens": 32000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


BEARER = ("Authorization", "Bearer theirs")


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ((BEARER,), (("x-api-key", "theirs"),)),
        ((("authorization", "bearer  theirs"),), (("x-api-key", "theirs"),)),
        ((("Cookie", "c"), BEARER), (("x-api-key", "theirs"), ("Cookie", "c"))),
        ((("X-API-Key", "theirs"), BEARER), (("X-API-Key", "theirs"), BEARER)),
        ((("Authorization", "Bearer sk-ant-oat1"),), (("Authorization", "Bearer sk-ant-oat1"),)),
        ((("Authorization", "Basic abc"),), (("Authorization", "Basic abc"),)),
        ((), ()),
    ],
)
def test_without_a_key_the_clients_own_one_goes_up(headers: Headers, sent: Headers) -> None:
    request = asked(OPEN, headers)
    assert request.url == "https://up/v1/messages"
    credentials = ("x-api-key", "authorization", "cookie")
    assert tuple(field for field in request.headers if field[0].lower() in credentials) == sent


def test_a_key_of_a_subscription_is_sent_as_a_bearer() -> None:
    request = asked(AnthropicUpstream(BaseUrl.parse("https://up"), "sk-ant-oat9"))
    assert dict(request.headers)["Authorization"] == "Bearer sk-ant-oat9"
    assert "x-api-key" not in dict(request.headers)


def test_the_version_of_the_client_is_kept() -> None:
    assert dict(asked(OPEN, (("anthropic-version", "2026-10-21"),)).headers)["anthropic-version"] == "2026-10-21"


def test_features_of_the_configuration_and_of_the_client_add_up() -> None:
    upstream = AnthropicUpstream(BaseUrl.parse("https://up"), options=AnthropicOptions(beta="ours"))
    assert dict(asked(upstream).headers)["anthropic-beta"] == "ours,fast"
    assert dict(asked(upstream, ()).headers)["anthropic-beta"] == "ours"
    both = (("anthropic-beta", "a,b"), ("Anthropic-Beta", "c"))
    assert dict(asked(upstream, both).headers)["anthropic-beta"] == "ours,a,b,c"


def test_it_is_an_upstream() -> None:
    upstream: Upstream = UPSTREAM
    assert (upstream.name, upstream.is_passthrough, upstream.resolves("m")) == ("anthropic", False, True)


def test_no_embeddings() -> None:
    with pytest.raises(BadRequest, match="no embeddings"):
        UPSTREAM.embedding_requests(Call("id", 7, "/v1/embeddings", "", (), {"input": "a"}, None))


def test_other_paths_are_forwarded() -> None:
    request = ClientRequest("id", 7, "POST", "/v1/messages/batches", "a=b", CLIENT, BytesBody(b"{}"))
    forwarded = UPSTREAM.forward_request(request)
    assert (forwarded.method, forwarded.url) == ("POST", "https://up/v1/messages/batches?a=b")
    assert forwarded.body == b"{}"
    assert dict(forwarded.headers)["x-api-key"] == "sk-ant-ours"
    assert "Authorization" not in dict(forwarded.headers)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b'{"data":[],"has_more":true,"last_id":"a/b&c"}', "limit=1000&after_id=a%2Fb%26c"),
        (b'{"data":[],"has_more":true,"last_id":null}', None),
        (b'{"data":[],"has_more":false,"last_id":"a"}', None),
        (b'{"data":[]}', None),
    ],
)
def test_the_next_page_of_models_is_asked_for(body: bytes, query: str | None) -> None:
    first = UPSTREAM.model_list_request(about_models("/v1/models", CLIENT))
    following = UPSTREAM.next_models_request(first, body)
    assert following == (None if query is None else replace(first, url=f"https://up/v1/models?{query}"))


def test_a_page_that_is_no_json_is_an_error() -> None:
    first = UPSTREAM.model_list_request(about_models("/v1/models", CLIENT))
    with pytest.raises(UpstreamProtocolError):
        UPSTREAM.next_models_request(first, b"<html>")


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
ENTRY = {
    "id": "claude-4",
    "object": "model",
    "created": 1771459200,
    "owned_by": "anthropic",
    "display_name": "Claude 4",
    "created_at": "2026-02-19T00:00:00Z",
}


def test_a_list_of_models() -> None:
    page = {"data": [CLAUDE, {"id": "b"}, {"id": "c", "max_tokens": 5}], "has_more": False}
    listed = UPSTREAM.read_model_list(json.dumps(page).encode(), "", 7)
    bare = {"object": "model", "created": 7, "owned_by": "anthropic"}
    others = [{"id": "b", **bare}, {"id": "c", **bare, "max_tokens": 5}]
    assert listed.chunk == {"object": "list", "data": [ENTRY, *others]}


def test_one_model() -> None:
    assert UPSTREAM.read_model_list(json.dumps(CLAUDE).encode(), "claude-4", 7).chunk == ENTRY


@pytest.mark.parametrize("name", ["", "claude-4"])
@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b'{"data": 5}', b'{"data": [5]}', b'{"data": [{"id": 5}]}'])
def test_a_reply_without_models(reply: bytes, name: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        UPSTREAM.read_model_list(reply, name, 7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:07Z", 7),
        ("1970-01-01T00:00:07.123456Z", 7),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("1970-13-01T00:00:00Z", None),
        ("1970-01-01", None),
        ("?", None),
        (5, None),
    ],
)
def test_times(text: object, seconds: int | None) -> None:
    assert parse_time(text) == seconds


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
    assert made.headers == (
        ("Retry-After", "7"),
        ("request-id", "req_1"),
        ("x-request-id", "req_1"),
        ("Content-Type", "application/json"),
    )
    found = json.loads(made.body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found == {**found, **error}


def test_a_redirect_passes_untouched() -> None:
    made = UPSTREAM.read_error(307, (("Location", "/x"),), told("moved"))
    assert isinstance(made, UpstreamStatus)
    assert (made.status, made.body) == (307, told("moved"))


def test_rate_limits_have_openais_names_too() -> None:
    headers = (
        ("Date", "Thu, 01 Jan 1970 00:00:10 GMT"),
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "1970-01-01T00:00:17Z"),
        ("anthropic-ratelimit-tokens-reset", "1970-01-01T00:00:05Z"),
        ("x-ratelimit-limit-requests", "40"),
    )
    made = UPSTREAM.read_error(429, headers, told("rate_limit_error"))
    assert isinstance(made, UpstreamStatus)
    named = {name: value for name, value in made.headers if name.startswith("x-")}
    assert named == {
        "x-ratelimit-limit-requests": "40",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "7s",
        "x-ratelimit-reset-tokens": "0s",
    }
    assert dict(made.headers)["anthropic-ratelimit-requests-limit"] == "50"


SPOKEN = ("/v1/messages", "/v1/messages/count_tokens")


@pytest.mark.parametrize("path", SPOKEN)
def test_requests_of_its_own_api_go_up_as_they_are(path: str) -> None:
    assert UPSTREAM.speaks(path)
    text = b'{"model": "claude", "max_tokens": 1e2 , "messages":[], "new_field": [1.0]}'
    headers = (("Authorization", "Bearer theirs"), ("anthropic-version", "2026-10-21"), ("Accept", "application/json"))
    call = Call("id", 7, path, "beta=true", headers, json.loads(text), text)
    request = OPEN.completion_request(call)
    assert (request.url, request.body, request.length) == (f"https://up{path}?beta=true", text, len(text))
    assert dict(request.headers)["Authorization"] == "Bearer theirs"
    assert dict(request.headers)["anthropic-version"] == "2026-10-21"
    keyed = dict(UPSTREAM.completion_request(call).headers)
    assert keyed["x-api-key"] == "sk-ant-ours"
    assert "Authorization" not in keyed


def test_it_speaks_no_other_api() -> None:
    assert not UPSTREAM.speaks("/v1/responses")
    assert not UPSTREAM.speaks("/v1/chat/completions")
