"""Cookies, keys in queries and other credentials: forwarded, or dropped where the proxy sends its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client import Answer, Client, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import reply

CHAT = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x"}]}).encode()
DOCUMENT = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}).encode()
SENT = {
    "Authorization": "Bearer client-key-canary",
    "X-API-Key": "client-key-canary",
    "API-Key": "client-key-canary",
    "X-Goog-Api-Key": "client-key-canary",
    "Cookie": "session=client-cookie-canary; a=b",
}
REQUESTS = [("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("POST", "/v1/other")]


def asked(proxy: Proxy, upstream: Upstream, method: str, path: str) -> tuple[Answer, str, dict[str, str]]:
    """Ask with every kind of credential: the answer, the target and the headers that the upstream saw."""
    body = DOCUMENT.replace(b'{"choices"', b'{"data": [], "choices"')
    script = upstream.script(reply(body=body, Content_Type="application/json", Set_Cookie="session=s1; Path=/"))
    headers = {name.replace("-", "_"): value for name, value in SENT.items()}
    target = f"{path}?alt=sse&key=client-key-canary"
    answer = ask(proxy.port, method, target, CHAT.replace(b"}]}", b'}], "input": "x"}'), X_Script=script, **headers)
    assert answer.status == 200
    seen = upstream.last(script)
    return answer, seen["target"], {name.lower(): value for name, value in seen["headers"]}


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_where_the_clients_credentials_are_forwarded_cookies_are_too(
    serve: Serve, upstream: Upstream, method: str, path: str
) -> None:
    answer, target, headers = asked(serve(TARGET_BASE_URL=upstream.url), upstream, method, path)
    assert target == f"{path}?alt=sse&key=client-key-canary"
    assert {name.lower(): headers[name.lower()] for name in SENT} == {key.lower(): text for key, text in SENT.items()}
    assert answer.header("Set-Cookie") == "session=s1; Path=/"


KEYED = {
    "a key": {"TARGET_BASE_URL": "{url}", "TARGET_API_KEY": "sk-proxy-key"},
    "a name and a password": {"TARGET_BASE_URL": "{userinfo}"},
    "a key in the query": {"TARGET_BASE_URL": "{url}/v1?key=sk-proxy-key"},
}


@pytest.mark.parametrize("settings", KEYED.values(), ids=KEYED)
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_where_the_proxys_key_is_sent_every_credential_of_the_client_is_dropped(
    serve: Serve, upstream: Upstream, settings: dict[str, str], method: str, path: str
) -> None:
    userinfo = upstream.url.replace("://", "://me:word@")
    proxy = serve(**{name: value.format(url=upstream.url, userinfo=userinfo) for name, value in settings.items()})
    answer, target, headers = asked(proxy, upstream, method, path)
    assert "canary" not in target + json.dumps(headers)
    assert "alt=sse" in target
    assert not answer.header("Set-Cookie")


def test_an_upstream_that_gets_no_clients_keys_gets_no_cookies(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        f"upstreams:\n  one: {{base_url: '{upstream.url}', client_keys: drop}}\n  two: {{base_url: '{upstream.url}'}}\n"
    )
    proxy = Proxy(tmp_path, {"WORKERS": "1"})
    try:
        answer, target, headers = asked(proxy, upstream, "POST", "/v1/other")
    finally:
        proxy.stop()
    assert "canary" not in target + json.dumps(headers)
    assert not answer.header("Set-Cookie")


def test_a_key_of_the_proxy_goes_nowhere_in_a_query_or_cookie(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET="ann=door-key-canary")
    headers = {"Authorization": "Bearer door-key-canary", "Cookie": "a=door-key-canary", "X_Goog_Api_Key": "theirs"}
    for method, path in REQUESTS:
        script = upstream.script(reply(body=DOCUMENT.replace(b'{"choices"', b'{"data": [], "choices"')))
        target = f"{path}?key=door-key-canary&other=door%2Dkey-canary&key=theirs"
        body = CHAT.replace(b"}]}", b'}], "input": "x"}')
        assert ask(proxy.port, method, target, body, X_Script=script, **headers).status == 200
        seen = upstream.last(script)
        assert "canary" not in json.dumps(seen["headers"]) + seen["target"]
        assert seen["target"] == f"{path}?key=theirs"
        assert dict(seen["headers"])["X-Goog-Api-Key"] == "theirs"
    assert ask(proxy.port, "GET", "/v1/models?key=door-key-canary").status == 401, "a query opens nothing"
    assert "canary" not in proxy.log()


def test_headers_that_name_another_url_or_method_stop_here(serve: Serve, upstream: Upstream) -> None:
    headers = {
        "X_Original_URL": "/v1/chat/completions",
        "X_Original_URI": "/v1/chat/completions",
        "X_Rewrite_URL": "/v1/chat/completions",
        "X_HTTP_Method_Override": "POST",
        "X_HTTP_Method": "POST",
        "X_Method_Override": "POST",
        "Proxy": "http://evil.invalid",
    }
    proxy = serve(TARGET_BASE_URL=upstream.url)
    for method, path in REQUESTS:
        script = upstream.script(reply(body=DOCUMENT.replace(b'{"choices"', b'{"data": [], "choices"')))
        ask(proxy.port, method, path, CHAT.replace(b"}]}", b'}], "input": "x"}'), X_Script=script, **headers)
        names = {name.lower() for name, _ in upstream.last(script)["headers"]}
        assert not names & {name.lower().replace("_", "-") for name in headers}


@pytest.mark.parametrize("target", ["/", "/health/live", "/v1/models", "/v1/x", "http://door/v1/x"])
def test_a_request_of_http_1_1_without_a_host_is_400(serve: Serve, upstream: Upstream, target: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    for version, headers, status in (("1.1", "", 400), ("1.0", "", 200), ("1.1", "Host:\r\n", 200)):
        with Client(proxy.port) as client:
            client.sock.sendall(f"GET {target} HTTP/{version}\r\n{headers}\r\n".encode())
            answer = client.answer()
        assert answer.status == status, (version, headers)
        assert status == 200 or "Host" in answer.error["message"]
