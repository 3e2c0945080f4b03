"""Native mode: everything goes through as it is, started in each of the three ways."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream
from tests.support.providers.argo import CHAT, EMBED, STREAM
from tests.support.scripts import CHUNKED, END, chunked, reply

Json = dict[str, Any]
HI: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(USE_NATIVE_OPENAI="true", NATIVE_OPENAI_BASE_URL=f"{upstream.url}/v1/", LLM_PARAMS="model=m2,top_k=5")


@pytest.fixture
def known(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(
        USE_NATIVE_OPENAI="1",
        NATIVE_OPENAI_BASE_URL=f"{upstream.url}/v1",
        ARGO_BASE_URL=f"{upstream.url}/argoapi",
        ARGO_USER="me",
        USERNAME_PASSTHROUGH="true",
    )


def post(proxy: Proxy, path: str, body: bytes, **headers: str) -> Answer:
    return ask(proxy.port, "POST", path, body, **headers)


def last_body(upstream: Upstream, script: str = "") -> bytes:
    body: str = upstream.last(script)["body"]
    return body.encode("latin-1")


@pytest.mark.parametrize("way", ["flag", "file", "environment"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_each_way_to_switch_it_on(upstream: Upstream, tmp_path: Path, way: str, slash: str) -> None:
    base = f"{upstream.url}/v1{slash}"
    environ, command = {"WORKERS": "1"}, list[str]()
    if way == "flag":
        command = [sys.executable, str(ROOT / "cot_proxy.py"), "--native-openai"]
        environ["NATIVE_OPENAI_BASE_URL"] = base
    elif way == "file":
        (tmp_path / "config.yaml").write_text(f"use_native_openai: true\nnative_openai_base_url: {base}\n")
    else:
        environ |= {"USE_NATIVE_OPENAI": "true", "NATIVE_OPENAI_BASE_URL": base}
    proxy = Proxy(tmp_path, environ, command)
    try:
        answer = post(proxy, "/v1/chat/completions", b'{"model": "argo:gpt-4o", "messages": []}')
        assert answer.status == 200
        assert upstream.last("")["target"] == "/v1/chat/completions"
        assert last_body(upstream) == b'{"model": "gpt4o", "messages": []}'
    finally:
        assert proxy.stop() == 0


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="your-api-key", max_retries=0) as made:
        yield made


def test_the_page_as_it_is_printed(client: openai.OpenAI, upstream: Upstream) -> None:
    whole = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello!"}])
    assert whole.choices[0].message.content == "<think>let me see</think>\n\nHello there!", "thoughts stay"
    stream = client.chat.completions.create(model="argo:gpt-4o", messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).endswith("Hello there!")
    embedded = client.embeddings.create(model="text-embedding-3-small", input="Hello, world!", encoding_format="float")
    assert len(embedded.data[0].embedding) == 2
    assert json.loads(last_body(upstream))["model"] == "v3small"
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    client.chat.completions.create(model="gpt4o", messages=HI, tools=tools)
    assert json.loads(last_body(upstream))["tools"] == tools
    client.completions.create(model="gpt4o", prompt="x")
    assert upstream.last("")["target"] == "/v1/completions"
    headers = {name.lower(): value for name, value in upstream.last("")["headers"]}
    assert headers["authorization"] == "Bearer your-api-key"


ODD = [
    reply("200 OK", b' { "choices" : 5, "unknown": 1e400 }  ', Content_Type="application/json; odd"),
    reply("200 OK", b"\xef\xbb\xbf{}", Content_Type="text/weird"),
    reply("200 OK", b"", Content_Type="application/json"),
    reply("502 Bad Gateway", b"<html>broken</html>", Content_Type="text/html"),
    reply("422 No", b'{"detail" : [1]}', Content_Type="application/json"),
    reply("302 Found", b"elsewhere", Location="http://else/where"),
    reply("429 Slow", b'{"error": "x"}', Content_Type="application/json", Retry_After="3"),
]


@pytest.mark.parametrize("step", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("stream", ["true", "false"])
def test_an_odd_answer_comes_back_byte_for_byte(
    proxy: Proxy, upstream: Upstream, step: list[Any], path: str, stream: str
) -> None:
    head, _, body = step[1].encode("latin-1").partition(b"\r\n\r\n")
    answer = post(proxy, path, b'{"model": "m1", "stream": %b}' % stream.encode(), X_Script=upstream.script(step))
    assert (answer.status, answer.body) == (int(head.split()[1]), body)
    for line in head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        assert answer.header(name) == value


EVENTS = ': odd\r\n\r\nevent: x\nid:5\ndata:{"choices" : [ ] }\n\ndata: {"usage": {"prompt_tokens": 7}}\n\nnonsense\n\n'


def test_odd_events_come_back_byte_for_byte_as_they_arrive(proxy: Proxy, upstream: Upstream) -> None:
    steps = [["send", CHUNKED], *(["send", chunked(letter)] for letter in EVENTS), ["send", END]]
    answer = post(proxy, "/v1/chat/completions", b'{"model": "m1"}', X_Script=upstream.script(*steps))
    assert answer.body == EVENTS.encode()
    assert proxy.line(answer.id)["prompt_tokens"] == "7"


def test_a_stream_that_breaks_off_says_so(proxy: Proxy, upstream: Upstream) -> None:
    steps = [["send", CHUNKED], ["send", chunked('data: {"a": 1}\n\ndata: {"b')], ["close"]]
    answer = post(proxy, "/v1/chat/completions", b'{"model": "m1", "stream": true}', X_Script=upstream.script(*steps))
    assert answer.body.startswith(b'data: {"a": 1}\n\ndata: {"error":')
    assert b"[DONE]" not in answer.body
    assert proxy.line(answer.id)["ending"] == "upstream_broken"


def test_a_whole_answer_that_breaks_off_is_cut(proxy: Proxy, upstream: Upstream) -> None:
    step = ["send", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"]
    answer = post(proxy, "/v1/chat/completions", b'{"model": "m1"}', X_Script=upstream.script(step, ["close"]))
    assert not answer.whole


def test_what_a_rule_says_is_said(proxy: Proxy, upstream: Upstream) -> None:
    text = b'{"model": "m2" , "temperature": 1.0, "timeout": 9}'
    assert post(proxy, "/v1/chat/completions", text).status == 200
    assert last_body(upstream) == b'{"model": "m2" , "temperature": 1.0,"top_k":5}'


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"model": 5}', b'{"model": "m", "timeout": "x"}'])
def test_what_is_refused(proxy: Proxy, body: bytes) -> None:
    answer = post(proxy, "/v1/chat/completions", body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


def test_models_with_their_aliases(known: Proxy, upstream: Upstream) -> None:
    listed = reply("200 OK", b'{"object":"list","data":[{"id":"gpt4o","object":"model"}]}')
    answer = ask(known.port, "GET", "/v1/models", X_Script=upstream.script(listed))
    assert [model["id"] for model in answer.json["data"]] == ["gpt4o", "argo:gpt-4o"]


def test_other_paths_are_forwarded(proxy: Proxy) -> None:
    assert ask(proxy.port, "GET", "/v1/files").json["target"] == "/v1/files"
    assert ask(proxy.port, "GET", "/v1/status").json["target"] == "/v1/status", "nobody is known"


def test_beside_it_the_gateway_where_somebody_is_known(known: Proxy, upstream: Upstream) -> None:
    assert ask(known.port, "GET", "/v1/status").json["choices"]
    assert upstream.last("")["target"] == CHAT
    raw = post(known, "/v1/chat", b'{"model": "gpt4o", "prompt": "Hi", "stream": true}')
    assert raw.body.decode().endswith("you said: Hi")
    assert upstream.last("")["target"] == STREAM


KEYS = [("Authorization", "Bearer ann"), ("X_API_Key", "ann"), ("API_Key", "ann"), ("", "")]
PATHS = [
    ("/v1/chat/completions", {"model": "gpt4o", "messages": HI}),
    ("/v1/completions", {"model": "gpt4o", "prompt": "Hi"}),
    ("/v1/embeddings", {"model": "ada002", "input": "Hi"}),
]


@pytest.mark.parametrize(("name", "value"), KEYS, ids=[name or "none" for name, _ in KEYS])
@pytest.mark.parametrize(("path", "body"), PATHS, ids=[path for path, _ in PATHS])
@pytest.mark.parametrize("mode", ["native", "standard"])
def test_the_key_is_the_user(
    known: Proxy, serve: Serve, upstream: Upstream, mode: str, path: str, body: Json, name: str, value: str
) -> None:
    standard = {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me", "USERNAME_PASSTHROUGH": "true"}
    proxy = known if mode == "native" else serve(**standard)
    headers = {name.replace("_", "-"): value} if name else {}
    answer = ask(proxy.port, "POST", path, json.dumps(body).encode(), **headers)
    assert answer.status == 200
    assert json.loads(last_body(upstream))["user"] == ("ann" if name else "me")


def test_without_a_configured_user_a_key_is_wanted(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", USERNAME_PASSTHROUGH="true")
    for path, body in PATHS:
        seen = upstream.count("")
        answer = ask(proxy.port, "POST", path, json.dumps(body).encode())
        assert (answer.status, answer.error["type"]) == (401, "authentication_error")
        assert answer.header("WWW-Authenticate") == "Bearer"
        assert upstream.count("") == seen
        assert ask(proxy.port, "POST", path, json.dumps(body).encode(), Authorization="Bearer ann").status == 200
    assert ask(proxy.port, "GET", "/v1/status").status == 401
    assert upstream.seen_at(EMBED)


def test_a_wrong_base_url_is_told_at_the_start(tmp_path: Path) -> None:
    environ = {"USE_NATIVE_OPENAI": "true", "NATIVE_OPENAI_BASE_URL": "apps/v1", "PATH": os.environ["PATH"]}
    with pytest.raises(AssertionError, match=r"NATIVE_OPENAI_BASE_URL 'apps/v1' "):
        Proxy(tmp_path, environ)
