"""Web pages of other origins as clients."""

from __future__ import annotations

import json

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import reply

PAGE = "https://app.example"
KEY = {"Authorization": "Bearer k-ann"}
PATHS = ["/v1/chat/completions", "/v1/models", "/v1/files", "/health", "/metrics", "/"]


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(
        TARGET_BASE_URL=upstream.url,
        CORS_ORIGINS=f"{PAGE},http://localhost:3000/",
        ENABLE_AUTH="true",
        API_KEY_SECRET="ann=k-ann",
        EARLY_HEARTBEAT="true",
        HEARTBEAT="0.2",
    )


def preflight(proxy: Proxy, path: str, origin: str = PAGE) -> Answer:
    headers = {
        "Origin": origin,
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,content-type",
    }
    return ask(proxy.port, "OPTIONS", path, None, **headers)


def vary(answer: Answer) -> str:
    return ", ".join(value for name, value in answer.headers if name == "Vary")


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_needs_no_key_and_never_goes_upstream(proxy: Proxy, upstream: Upstream, path: str) -> None:
    seen = upstream.count("")
    for origin in (PAGE, "http://localhost:3000"):
        answer = preflight(proxy, path, origin)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("Access-Control-Allow-Origin") == origin
        assert answer.header("Access-Control-Allow-Headers") == "authorization,content-type"
        assert "POST" in answer.header("Access-Control-Allow-Methods")
        assert "Origin" in vary(answer)
        assert "Access-Control-Request-Headers" in vary(answer)
    refused = preflight(proxy, path, "https://other.example")
    assert (refused.status, refused.error["code"]) == (403, "origin_not_allowed")
    assert not refused.header("Access-Control-Allow-Origin")
    assert upstream.count("") == seen


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_what_is_no_preflight_needs_its_key(proxy: Proxy, method: str) -> None:
    answer = ask(proxy.port, method, "/v1/files", None, Origin=PAGE)
    assert answer.status == 401
    assert answer.header("Access-Control-Allow-Origin") == PAGE
    assert ask(proxy.port, method, "/v1/files", None, Origin=PAGE, **KEY).status == 200


def test_every_answer_can_be_read_by_the_page(proxy: Proxy, upstream: Upstream) -> None:
    refused = upstream.script(reply("429 Too Many", b'{"error": {"message": "slow down"}}', Retry_After="3"))
    broken = upstream.script(["rst"])
    slow = upstream.script(["sleep", 0.7], reply(body=b'data: {"choices": []}\n\ndata: [DONE]\n\n'))
    headers = {"Origin": PAGE, **KEY}
    answers = [
        chat(proxy.port, headers=headers),
        chat(proxy.port, stream=True, headers=headers),
        chat(proxy.port, stream=True, headers={**headers, "X-Script": slow}),
        chat(proxy.port, headers={**headers, "X-Script": refused}),
        chat(proxy.port, headers={**headers, "X-Script": broken}),
        chat(proxy.port, headers={"Origin": PAGE}),
        ask(proxy.port, "POST", "/v1/chat/completions", b"{", Origin=PAGE, **KEY),
        ask(proxy.port, "GET", "/v1/../x", None, Origin=PAGE, **KEY),
        ask(proxy.port, "GET", "/v1/files", None, Origin=PAGE, **KEY),
        ask(proxy.port, "GET", "/health/live", None, Origin=PAGE),
    ]
    assert {answer.status for answer in answers} >= {200, 400, 401, 404, 429, 502}
    for answer in answers:
        assert answer.header("Access-Control-Allow-Origin") == PAGE
        exposed = answer.header("Access-Control-Expose-Headers").lower().split(", ")
        assert {"x-logging-id", "x-request-id", "retry-after"} <= set(exposed)
        assert "Origin" in vary(answer)
        assert not answer.header("Access-Control-Allow-Credentials")


def test_pages_of_other_origins_are_answered_and_not_allowed(proxy: Proxy) -> None:
    for origin in ({"Origin": "https://other.example"}, {}):
        answer = chat(proxy.port, headers={**origin, **KEY})
        assert (answer.status, vary(answer)) == (200, "Origin")
        assert not answer.header("Access-Control-Allow-Origin")


def test_the_proxy_speaks_for_itself(proxy: Proxy, upstream: Upstream) -> None:
    said = reply(
        body=b"x", Access_Control_Allow_Origin="*", Access_Control_Allow_Credentials="true", Vary="Accept-Encoding"
    )
    answer = ask(proxy.port, "GET", "/v1/x", None, X_Script=upstream.script(said), Origin=PAGE, **KEY)
    allowed = [value for name, value in answer.headers if name.lower().startswith("access-control-allow")]
    assert (allowed, vary(answer)) == ([PAGE], "Accept-Encoding, Origin")


def test_every_page_can_be_allowed(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, CORS_ORIGINS="*")
    assert preflight(proxy, "/v1/x", "null").header("Access-Control-Allow-Origin") == "*"
    assert chat(proxy.port).header("Access-Control-Allow-Origin") == "*"


def test_without_the_setting_nothing_is_different(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    said = reply(body=b"x", Access_Control_Allow_Origin="https://theirs.example")
    script = upstream.script(said)
    answer = ask(proxy.port, "GET", "/v1/x", None, X_Script=script, Origin=PAGE)
    assert answer.header("Access-Control-Allow-Origin") == "https://theirs.example"
    assert not vary(answer)
    forwarded = preflight(proxy, "/v1/chat/completions")
    assert json.loads(forwarded.body)["method"] == "OPTIONS"
    keyed = serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET="ann=k-ann")
    assert preflight(keyed, "/v1/chat/completions").status == 401


def test_a_preflight_is_logged_like_any_request(proxy: Proxy) -> None:
    line = proxy.line(preflight(proxy, "/v1/models").id)
    assert (line["method"], line["status"], line["ending"]) == ("OPTIONS", "204", "complete")
