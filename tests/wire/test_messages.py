"""Clients of Messages before an upstream of OpenAI's kind, on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.messages_grammar import call_of, check_grammar, chunk_of, joined, read_frames, usage_of
from tests.support.processes import Proxy, Upstream, free_port
from tests.support.scripts import CHUNKED, DONE, chunked, completion, reply, stream

Json = dict[str, Any]
HI = [{"role": "user", "content": "Hi"}]
RULES = """
target_base_url: {url}/v1
models:
  claude-*: {{upstream_model_name: m1}}
  shown: {{upstream_model_name: m1, reasoning: field}}
  hidden: {{upstream_model_name: m1, reasoning: strip}}
"""
USAGE = usage_of(prompt_tokens=20, completion_tokens=9, prompt_tokens_details={"cached_tokens": 8})


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    file = tmp_path_factory.mktemp("messages") / "config.yaml"
    file.write_text(RULES.format(url=upstream.url))
    return serve(CONFIG_PATH=str(file))


def post(proxy: Proxy, path: str = "/v1/messages?beta=true", script: str = "", **fields: Any) -> Answer:
    body = {"model": "claude-x", "max_tokens": 99, "messages": HI, **fields}
    headers = {"X-Script": script} if script else {}
    return ask(proxy.port, "POST", path, json.dumps(body).encode(), **headers)


def events(*chunks: Json) -> list[Any]:
    return stream(*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), DONE)


TURN = [
    chunk_of({"role": "assistant", "content": "", "reasoning_content": "hm"}),
    chunk_of({"content": "Hel"}),
    chunk_of({"content": "lo"}),
    chunk_of(call_of(0, '{"a":', "f", "c0")),
    chunk_of(call_of(1, "{}", "g", "c1")),
    chunk_of(call_of(0, "1}")),
    chunk_of({}, "tool_calls"),
    USAGE,
]


def test_a_turn_with_thought_text_and_calls_streamed_and_whole(proxy: Proxy, upstream: Upstream) -> None:
    tool = {"name": "f", "input_schema": {"type": "object"}}
    messages = []
    for wants_stream in (True, False):
        script = upstream.script(*events(*TURN))
        answer = post(proxy, script=script, stream=wants_stream, tools=[tool])
        assert answer.header("request-id") == answer.header("X-Logging-Id")
        if wants_stream:
            frames = read_frames(answer.body)
            check_grammar(frames)
        messages.append(joined(frames) if wants_stream else answer.json)
        sent = json.loads(upstream.last(script)["body"])
        assert (sent["model"], sent["tools"][0]["function"]["name"]) == ("m1", "f")
        line = proxy.line(answer.header("X-Logging-Id"))
        assert (line["route"], line["status"], line["completion_tokens"]) == ("/v1/messages", "200", "9")
    one, other = ({**message, "id": ""} for message in messages)
    assert one == other
    assert [block["type"] for block in one["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert (one["usage"]["input_tokens"], one["usage"]["cache_read_input_tokens"]) == (12, 8)


@pytest.mark.parametrize(
    ("model", "kinds"), [("claude-x", ["text"]), ("shown", ["thinking", "text"]), ("hidden", ["text"])]
)
@pytest.mark.parametrize("wants_stream", [True, False])
def test_the_policy_decides_what_becomes_of_thoughts(
    proxy: Proxy, upstream: Upstream, model: str, kinds: list[str], wants_stream: bool
) -> None:
    script = upstream.script(reply(body=completion("<think>hm</think>\n\nHello")))
    answer = post(proxy, script=script, model=model, stream=wants_stream)
    message = joined(read_frames(answer.body)) if wants_stream else answer.json
    assert [block["type"] for block in message["content"]] == kinds
    assert message["content"][-1]["text"] == "Hello"


def test_a_stream_that_breaks_ends_with_an_error_and_nothing_after(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["send", CHUNKED + chunked(f"data: {json.dumps(TURN[1])}\n\n")], ["close"])
    frames = read_frames(post(proxy, script=script, stream=True).body)
    assert [frame["type"] for frame in frames].count("error") == 1
    assert (frames[-1]["type"], frames[-1]["error"]["type"]) == ("error", "api_error")
    assert "message_stop" not in [frame["type"] for frame in frames]


def test_an_upstreams_error_keeps_its_words(proxy: Proxy, upstream: Upstream) -> None:
    body = json.dumps({"error": {"message": "Slow down, friend.", "type": "requests", "code": None}}).encode()
    answer = post(proxy, script=upstream.script(reply("429 Too Many", body, Retry_After="7")))
    assert (answer.status, answer.header("Retry-After")) == (429, "7")
    assert answer.json["error"] == {"type": "rate_limit_error", "message": "Slow down, friend."}
    assert answer.json["request_id"] == answer.header("request-id")


def test_bad_requests_never_go_up(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply(body=completion("no")))
    for fields, name in (
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"model": ""}, "model"),
    ):
        answer = post(proxy, script=script, **fields)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert name in answer.json["error"]["message"]
    bad = ask(proxy.port, "POST", "/v1/messages", b"{", X_Script=script)
    assert (bad.status, bad.json["type"]) == (400, "error")
    assert upstream.seen(script) == []


def test_large_requests(proxy: Proxy, upstream: Upstream) -> None:
    tools = [{"name": f"tool_{number}", "input_schema": {"type": "object"}} for number in range(100)]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    messages: list[Json] = [{"role": "user", "content": [image] * 20}]
    for number in range(100):
        use = {"type": "tool_use", "id": f"c{number}", "name": "tool_1", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"c{number}", "content": "x" * (5_000_000 if not number else 9)}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    script = upstream.script(reply(body=completion("ok")))
    assert post(proxy, script=script, messages=messages, tools=tools).json["content"][0]["text"] == "ok"


def test_both_credentials_become_a_bearer_token(proxy: Proxy, upstream: Upstream) -> None:
    for headers in ({"X-Api-Key": "k1"}, {"Authorization": "Bearer k1"}):
        script = upstream.script(reply(body=completion("ok")))
        body = json.dumps({"model": "m", "max_tokens": 1, "messages": HI}).encode()
        assert ask(proxy.port, "POST", "/messages", body, **headers, X_Script=script).status == 200
        sent = {name.lower(): value for name, value in upstream.last(script)["headers"]}
        assert sent["authorization"] == "Bearer k1"
        assert not {"x-api-key", "anthropic-version"} & sent.keys()


def test_paths_beside_it(proxy: Proxy, upstream: Upstream) -> None:
    assert ask(proxy.port, "HEAD", "/").status == 200
    counted = post(proxy, "/v1/messages/count_tokens?beta=true", max_tokens=None)
    assert counted.json == {"input_tokens": 1}


def test_models_for_both_apis(proxy: Proxy, upstream: Upstream) -> None:
    body = json.dumps({"object": "list", "data": [{"id": "m1", "created": 0}, {"id": "m2"}]}).encode()
    script = upstream.script(reply(body=body))
    first = ask(proxy.port, "GET", "/v1/models?limit=1", X_Script=script, anthropic_version="2023-06-01").json
    assert (first["data"][0]["id"], first["data"][0]["type"], first["has_more"]) == ("m1", "model", True)
    plain = ask(proxy.port, "GET", "/v1/models", X_Script=script).json
    assert "has_more" not in plain
    unknown = ask(
        proxy.port, "GET", "/v1/models/none", X_Script=upstream.script(reply("404 No")), anthropic_version="x"
    )
    assert (unknown.status, unknown.json["error"]["type"]) == (404, "not_found_error")


def test_the_demo_answers(serve: Serve, tmp_path: Path) -> None:
    answer = post(serve(DEMO="true"), model="demo", stream=True)
    check_grammar(read_frames(answer.body))


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_the_list_of_allowed_models_holds_for_every_spelling(serve: Serve, upstream: Upstream, path: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS="m1")
    script = upstream.script(reply(body=completion("ok")))
    assert post(proxy, path, script, model="m1").status == 200
    for fields, query in (({"model": "m2"}, ""), ({"model": "m1", "Model": "m2"}, ""), ({"model": "m1"}, "?model=m2")):
        refused = post(proxy, path + query, script, **fields)
        assert (refused.status, refused.json["error"]["type"]) == (403, "permission_error")


def test_each_attempt_decides_how_it_asks(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    """An alias leads to an upstream that speaks Messages and is down, then to one of chats; and the other way round."""
    gone = f"http://127.0.0.1:{free_port()}"
    upstreams = {
        "claude": {"kind": "anthropic", "base_url": gone, "api_key": "k"},
        "chats": {"kind": "openai", "base_url": f"{upstream.url}/v1", "api_key": "k"},
        "claude-too": {"kind": "anthropic", "base_url": upstream.url, "api_key": "secret-of-ours"},
        "chats-gone": {"kind": "openai", "base_url": gone, "api_key": "k"},
    }
    models = {"one": {"upstream": ["claude", "chats"]}, "other": {"upstream": ["chats-gone", "claude-too"]}}
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": upstreams, "models": models}))
    proxy = serve(CONFIG_PATH=str(tmp_path / "config.yaml"))
    answer = post(proxy, script=upstream.script(reply(body=completion("ok"))), model="one")
    assert answer.json["content"] == [{"type": "text", "text": "ok"}]
    body = b'{"type": "message", "content": [],  "usage": {"input_tokens": 3, "output_tokens": 4}}'
    script = upstream.script(reply(body=body, Content_Type="application/json"))
    passed = post(proxy, script=script, model="other", container="c")
    assert (passed.status, passed.body) == (200, body)
    assert json.loads(upstream.last(script)["body"])["container"] == "c"
    assert proxy.line(passed.header("X-Logging-Id"))["completion_tokens"] == "4"
