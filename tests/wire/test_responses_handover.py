"""Clients of Responses before an upstream that serves them: bytes up, bytes down, and still metered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, free_port
from tests.support.response_events import accumulate, parse_events
from tests.support.scripts import CHUNKED, END, chunked, completion, reply

Json = dict[str, Any]

PATH = "/v1/responses"
#: As no encoder here would write it.
BODY = (
    '{ "stream":%s,\n"model" : "%s", "input":[{"role":"user","content":"Hi \\u00e9 \\/ 世界"}],'
    '"previous_response_id":"resp_8", "odd" : [1.50, 1E2, -0, 12345678901234567890.5], "include":[] }\n'
)
WHOLE = '{ "id":"resp_9", "usage" : {"input_tokens":4,"output_tokens":6,"total_tokens":10}, "output":[ ],"odd":1.50 }\n'
EVENTS = (
    ": hello\r\n\r\n"
    'event: response.created\r\ndata: {"type" : "response.created","sequence_number":0,"response":{"id":"r"}}\r\n\r\n'
    'event: response.odd\ndata: {"type":"response.odd","sequence_number":7 ,"obfuscation":"x"}\n\n'
    'event: response.completed\ndata: {"type":"response.completed","sequence_number":8,"response":{"id":"resp_9",'
    '"usage":{"input_tokens":4,"output_tokens":6,"total_tokens":10}}}\n\n'
)
CODEX = {
    "originator": "codex_exec",
    "session-id": "s-1",
    "x-codex-turn-metadata": '{"a":1}',
    "x-client-request-id": "c-1",
    "OpenAI-Beta": "responses=experimental",
    "User-Agent": "codex_exec/0.169.0",
}
#: Headers of one connection, and credentials.
OWN = {"host", "content-length", "connection", "accept-encoding", "authorization", "x-script", "accept"}


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    config = tmp_path_factory.mktemp("handover") / "config.yaml"
    server = {"kind": "openai", "base_url": f"{upstream.url}/some/v1", "api_key": "ours", "responses": "forward"}
    models = {
        "fast": {"upstream_model_name": "m1"},
        "warm": {"upstream_model_name": "m1", "params": {"temperature": 0.25}},
        "short": {"params": {"max_tokens": 9}, "remove": ["odd"]},
    }
    config.write_text(json.dumps({"upstreams": {"server": server}, "models": models}))
    return serve(CONFIG_PATH=str(config))


def post(proxy: Proxy, body: str, script: str, **headers: str) -> Answer:
    sent = {"Authorization": "Bearer theirs", "Content-Type": "application/json", **headers, "X-Script": script}
    return ask(proxy.port, "POST", f"{PATH}?api-version=1&x=%41", body.encode(), **sent)


def play(upstream: Upstream, stream: str) -> str:
    """Script the reply to a request for a stream, or for a whole response."""
    if stream == "true":
        return upstream.script(["send", CHUNKED + chunked(EVENTS.encode().decode("latin-1")) + END])
    return upstream.script(reply(body=WHOLE.encode(), Content_Type="application/json", X_Request_Id="req_1"))


def sent(upstream: Upstream, script: str) -> str:
    """Give the body that went up."""
    body: str = upstream.last(script)["body"]
    return body.encode("latin-1").decode()


@pytest.mark.parametrize("stream", ["true", "false"])
def test_bytes_go_up_and_down_unchanged(proxy: Proxy, upstream: Upstream, stream: str) -> None:
    script, body = play(upstream, stream), BODY % (stream, "m1")
    answer = post(proxy, body, script, **CODEX)
    assert (answer.status, answer.body.decode()) == (200, EVENTS if stream == "true" else WHOLE)
    assert sent(upstream, script) == body
    seen = upstream.last(script)
    assert seen["target"] == "/some/v1/responses?api-version=1&x=%41"
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["authorization"] == "Bearer ours"
    kept = {name: value for name, value in headers.items() if name not in OWN}
    assert kept == {"content-type": "application/json", **{name.lower(): value for name, value in CODEX.items()}}
    line = proxy.line(answer.id)
    assert (line["prompt_tokens"], line["completion_tokens"]) == ("4", "6")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_rule_edits_only_what_it_names(proxy: Proxy, upstream: Upstream, stream: str) -> None:
    script = play(upstream, stream)
    assert post(proxy, BODY % (stream, "fast"), script).status == 200
    assert sent(upstream, script) == BODY % (stream, "m1")
    assert post(proxy, BODY % (stream, "warm"), script).status == 200
    assert sent(upstream, script) == (BODY % (stream, "m1")).replace(" }\n", ',"temperature":0.25 }\n')
    assert post(proxy, BODY % (stream, "short"), script).status == 200
    text = (BODY % (stream, "short")).replace(' "odd" : [1.50, 1E2, -0, 12345678901234567890.5],', "")
    assert json.loads(sent(upstream, script)) == {**json.loads(text), "max_output_tokens": 9}


def test_an_error_keeps_its_bytes(proxy: Proxy, upstream: Upstream) -> None:
    body = b'{ "error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"} }\n'
    script = upstream.script(reply("429 Too Many", body, Content_Type="application/json", Retry_After="7"))
    answer = post(proxy, BODY % ("true", "m1"), script)
    assert (answer.status, answer.body, answer.header("Retry-After")) == (429, body, "7")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_each_attempt_decides_how_it_asks(serve: Serve, upstream: Upstream, tmp_path: Path, stream: str) -> None:
    """An alias leads to an upstream that serves Responses and is down, then to one of chats; and the other way."""
    gone, url = f"http://127.0.0.1:{free_port()}/v1", f"{upstream.url}/v1"
    upstreams = {
        "server": {"base_url": url, "api_key": "k", "responses": "forward"},
        "server-gone": {"base_url": gone, "api_key": "k", "responses": "forward"},
        "chats": {"base_url": url, "api_key": "k", "responses": "convert"},
        "chats-gone": {"base_url": gone, "api_key": "k", "responses": "convert"},
    }
    models = {"one": {"upstream": ["server-gone", "chats"]}, "other": {"upstream": ["chats-gone", "server"]}}
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": upstreams, "models": models}))
    proxy = serve(CONFIG_PATH=str(tmp_path / "config.yaml"))
    script, plain = play(upstream, stream), '{"model":"%s","input":"hi","stream":%s}'
    answer = post(proxy, BODY % (stream, "other"), script)
    assert (answer.status, answer.body.decode()) == (200, EVENTS if stream == "true" else WHOLE)
    assert sent(upstream, script) == BODY % (stream, "other")
    script = upstream.script(reply(body=completion("ok"), Content_Type="application/json"))
    answer = post(proxy, plain % ("one", stream), script)
    response = accumulate(parse_events(answer.body)) if stream == "true" else answer.json
    assert response["output"][0]["content"][0]["text"] == "ok"
    assert upstream.last(script)["target"].startswith("/v1/chat/completions")
    refused = post(proxy, BODY % (stream, "one"), script)
    assert (refused.status, refused.json["error"]["code"]) == (502, "upstream_unreachable")
    assert upstream.count(script) == 1, "a chat can't say this"


@pytest.mark.parametrize(("status", "ending"), [("failed", "upstream_error"), ("completed", "complete")])
def test_the_log_tells_of_a_response_that_failed(proxy: Proxy, upstream: Upstream, status: str, ending: str) -> None:
    body = json.dumps({"id": "resp_9", "object": "response", "status": status, "output": []}).encode()
    script = upstream.script(reply(body=body, Content_Type="application/json"))
    answer = post(proxy, BODY % ("false", "m1"), script)
    assert (answer.status, answer.body) == (200, body)
    line = proxy.line(answer.id)
    assert (line["status"], line["ending"]) == ("200", ending)
