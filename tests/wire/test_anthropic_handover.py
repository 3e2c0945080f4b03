"""Clients of Messages before an upstream of the kind `anthropic`: bytes up, bytes down, and still metered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy
from tests.support.providers.anthropic_rules import KEY
from tests.support.stand_ins import stand_in

Json = dict[str, Any]

MODEL = "claude-opus-4-6"
#: As no encoder here would write it.
BODY = '{ "model":"%s",\n"max_tokens" : 50, "messages":[{"role":"user","content":"%s"}], "stream": %s}'
SIGNED: Json = {"type": "thinking", "thinking": "Hm", "signature": "Eq+/=="}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with stand_in("anthropic") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(serve: Serve, port: int, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    folder = tmp_path_factory.mktemp("handover")
    upstream = {"kind": "anthropic", "base_url": f"http://127.0.0.1:{port}", "api_key": KEY}
    named = {"upstream_model_name": MODEL}
    models = {"fast": named, "warm": {**named, "params": {"temperature": 0.25}}}
    (folder / "config.yaml").write_text(json.dumps({"upstreams": {"anthropic": upstream}, "models": models}))
    return serve(CONFIG_PATH=str(folder / "config.yaml"))


def post(port: int, body: str | bytes, path: str = "/v1/messages?beta=true", **headers: str) -> Answer:
    text = body.encode() if isinstance(body, str) else body
    return ask(port, "POST", path, text, **{"anthropic-version": "2026-10-21", "x-api-key": "theirs", **headers})


def sent(port: int) -> Json:
    """Return the last request that came to the stand-in."""
    last: Json = ask(port, "GET", "/_seen").json[-1]
    return last


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("words", ["Hello 世界", "think", "refuse", "long"])
def test_bytes_go_up_and_down_unchanged(proxy: Proxy, port: int, words: str, stream: str) -> None:
    body = BODY % (MODEL, words, stream)
    answer = post(proxy.port, body, **{"anthropic-beta": "a-1,b-2"})
    assert answer.status == 200
    seen = sent(port)
    assert (seen["body"], seen["target"]) == (body, "/v1/messages?beta=true")
    assert seen["headers"]["x-api-key"] == KEY
    assert (seen["headers"]["anthropic-beta"], seen["headers"]["anthropic-version"]) == ("a-1,b-2", "2026-10-21")
    straight = post(port, body, **{"x-api-key": KEY})
    assert answer.body == straight.body
    for name in ("request-id", "anthropic-ratelimit-requests-limit", "content-type"):
        assert answer.header(name) == straight.header(name)


def test_a_rule_edits_only_what_it_names(proxy: Proxy, port: int) -> None:
    assert post(proxy.port, BODY % ("fast", "Hi", "false")).status == 200
    assert sent(port)["body"] == BODY % (MODEL, "Hi", "false")
    assert post(proxy.port, BODY % ("warm", "Hi", "false")).status == 200
    assert json.loads(sent(port)["body"]) == {**json.loads(BODY % (MODEL, "Hi", "false")), "temperature": 0.25}


def test_m35_signatures_and_unknown_blocks_survive(proxy: Proxy, port: int) -> None:
    content = [SIGNED, {"type": "text", "text": "a", "citations": None}]
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    body = json.dumps({"model": MODEL, "max_tokens": 9, "messages": [*turns, {"role": "user", "content": "Hi"}]})
    assert post(proxy.port, body).status == 200
    assert sent(port)["body"] == body


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (529, "overloaded_error")]
)
def test_errors_are_anthropics_own(proxy: Proxy, port: int, status: int, kind: str, stream: str) -> None:
    body = BODY % (MODEL, f"fail:{status}", stream)
    answer = post(proxy.port, body)
    assert answer.status == status
    assert answer.json["error"]["type"] == kind
    assert answer.body == post(port, body, **{"x-api-key": KEY}).body
    assert answer.header("retry-after") == ("7" if status != 400 else "")


@pytest.mark.parametrize("words", ["break", "cut", "error:overloaded_error"])
def test_a_stream_that_fails_has_one_ending(proxy: Proxy, words: str) -> None:
    answer = post(proxy.port, BODY % (MODEL, words, "true"))
    assert answer.status == 200
    assert answer.body.count(b"event: error") == 1
    last = answer.body.split(b"\n\n")[-2]
    assert last.startswith(b"event: error\ndata: ")
    error = json.loads(last.partition(b"data: ")[2])["error"]
    assert error["type"] == ("overloaded_error" if "error" in words else "api_error")
    assert b"message_stop" not in answer.body
    assert proxy.line(answer.id)["ending"] == ("upstream_error" if "error" in words else "upstream_broken")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_tokens_are_counted(proxy: Proxy, stream: str) -> None:
    answer = post(proxy.port, BODY % (MODEL, "Hi", stream))
    line = proxy.line(answer.id)
    assert (line["model"], line["upstream"], line["ending"]) == (MODEL, "anthropic", "complete")
    assert line["prompt_tokens"] == "42"


def test_m33_tokens_are_counted_by_the_upstream(proxy: Proxy, port: int) -> None:
    body = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "Hi"}]})
    answer = post(proxy.port, body, "/v1/messages/count_tokens?beta=true")
    assert (answer.status, answer.json) == (200, {"input_tokens": len(body.replace("fast", MODEL)) // 4})
    assert sent(port)["target"] == "/v1/messages/count_tokens?beta=true"
