"""Limits and the ledger on every path to a model, in the shape of each API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.limits.limited import TOKEN_NANOS, Limited, StartLimited
from tests.limits.metered import ORDINARY_TOKENS, begin, end, streamed
from tests.support.client import Answer, ask
from tests.support.processes import Upstream
from tests.support.scripts import CHUNKED, chunked, reply

HI = [{"role": "user", "content": "Hi"}]
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": HI, "max_tokens": 10},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/audio/speech": {"input": "Hi"},
}


def post(limited: Limited, key: str, path: str, script: str = "", **body: Any) -> Answer:
    named = {"X-Script": script} if script else {}
    asked = json.dumps({"model": "m1", **PATHS.get(path, {}), **body}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **named}
    return ask(limited.proxy.port, "POST", path, asked, **headers)


@pytest.mark.parametrize("path", PATHS)
def test_each_path_is_limited_and_written_down(limited: Limited, name: str, path: str) -> None:
    key = limited.new_key(name, rpm=1, budget="9/total")
    answers = [post(limited, key, path) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 429, 429]
    assert answers[0].header("x-ratelimit-remaining-requests") == "0"
    refused = answers[1]
    assert (refused.header("Retry-After"), refused.header("x-ratelimit-limit-requests")) in (("60", "1"), ("59", "1"))
    error = refused.json["error"]
    if path == "/v1/messages":
        assert (refused.json["type"], error["type"]) == ("error", "rate_limit_error")
    else:
        assert (error["code"], error["param"]) == ("rate_limit_exceeded", "key.rpm")
    assert name not in refused.body.decode()
    assert limited.proxy.line(refused.id)["limit"] == "key.rpm"
    (entry,) = limited.settled(name, 1)
    assert (entry["model"], entry["upstream"], entry["ending"], entry["status"]) == ("m1", "up", "complete", 200)
    assert entry["cost_nanos"] == (entry["prompt_tokens"] + entry["completion_tokens"]) * TOKEN_NANOS


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_usage_is_withheld(limited: Limited, name: str, path: str) -> None:
    key = limited.new_key(name, budget="9/total")
    script = limited.script(*streamed(["a", "b"], 30, 70))
    answer = post(limited, key, path, script, stream=True)
    assert (answer.status, answer.whole) == (200, True)
    assert json.loads(limited.upstream.last(script)["body"])["stream_options"] == {"include_usage": True}
    if path == "/v1/chat/completions":
        assert b"usage" not in answer.body
    (entry,) = limited.settled(name, 1)
    assert (entry["prompt_tokens"], entry["completion_tokens"], entry["is_estimated"]) == (30, 70, 0)


def test_a_stream_without_usage_is_estimated(limited: Limited, name: str) -> None:
    key = limited.new_key(name, budget="9/total")
    script = limited.script(*begin("word " * 40), *end())
    assert post(limited, key, "/v1/chat/completions", script, stream=True).status == 200
    (entry,) = limited.settled(name, 1)
    assert 40 <= entry["completion_tokens"] <= 60
    assert (entry["ending"], entry["is_estimated"]) == ("complete", 1)


@pytest.mark.parametrize("asks", [True, False])
def test_streams_that_are_passed_on(limited_with: StartLimited, name: str, asks: bool) -> None:
    limited = limited_with(upstream_options={"native": True})
    key = limited.new_key(name, budget="9/total")
    script = limited.script(*streamed(["a"], 30, 70))
    options = {"stream_options": {"include_usage": True}} if asks else {}
    answer = post(limited, key, "/v1/chat/completions", script, stream=True, **options)
    assert (answer.status, b'"usage"' in answer.body) == (200, asks)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    (entry,) = limited.settled(name, 1)
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (30, 70)


def test_a_reply_in_the_client_s_own_api(limited_with: StartLimited, name: str) -> None:
    limited = limited_with(upstream_options={"kind": "openai", "responses": "forward"})
    key = limited.new_key(name, budget="9/total", rpm=60)
    usage = {"input_tokens": 30, "output_tokens": 70, "total_tokens": 100}
    whole = limited.script(reply(body=json.dumps({"id": "r", "usage": usage, "output": []}).encode()))
    assert post(limited, key, "/v1/responses", whole).header("x-ratelimit-remaining-requests") == "59"
    delta = 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"%s"}\n\n'
    cut = limited.script(["send", CHUNKED + chunked(delta % ("word " * 40))], ["read"], ["rst"])
    post(limited, key, "/v1/responses", cut, stream=True)
    first, second = limited.settled(name, 2)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (30, 70)
    assert (second["ending"], second["is_estimated"]) == ("upstream_broken", 1)
    assert 40 <= second["completion_tokens"] <= 60


def test_usage_of_relayed_paths(limited: Limited, name: str) -> None:
    key = limited.new_key(name, budget="9/total")
    usage = {"input_tokens": 30, "output_tokens": 70, "total_tokens": 100}
    script = limited.script(
        reply(body=json.dumps({"data": [], "usage": usage}).encode(), Content_Type="application/json")
    )
    assert post(limited, key, "/v1/images/generations", script).status == 200
    bearer = f"Bearer {key}"
    assert ask(limited.proxy.port, "GET", "/v1/files", Authorization=bearer).status == 200
    answer = ask(limited.proxy.port, "POST", "/v1/files", b"\x00bytes", Authorization=bearer)
    assert (answer.status, answer.json["error"]["code"]) == (400, "unpriced_model")
    image, files = limited.settled(name, 2)
    assert (image["prompt_tokens"], image["completion_tokens"], image["model"]) == (30, 70, "m1")
    assert (files["cost_nanos"], files["model"]) == (0, "")


def test_a_spare_is_asked_where_the_limit_of_an_upstream_is_reached(
    limited_with: StartLimited, upstream: Upstream, name: str
) -> None:
    server = {"base_url": f"{upstream.url}/v1", "api_key": "sk-up"}
    limited = limited_with(
        upstreams={"first": {**server, "rpm": 1}, "second": server}, models={"m1": {"upstream": ["first", "second"]}}
    )
    key = limited.new_key(name, budget="9/total")
    answers = [limited.chat(key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert [entry["upstream"] for entry in limited.settled(name, 3)] == ["first", "second", "second"]


def test_an_upstream_that_failed_is_charged_a_request_and_no_tokens(
    limited_with: StartLimited, upstream: Upstream, name: str
) -> None:
    """A spare that answers is charged, the first one only counts the request."""
    server = {"api_key": "sk-up", "tpm": 1100, "rpm": 100}
    failing = upstream.script(reply("500 Oops"))
    limited = limited_with(
        upstreams={
            "first": {**server, "base_url": f"{upstream.url}/s/{failing}"},
            "second": {**server, "base_url": f"{upstream.url}/v1"},
        },
        models={"m1": {"upstream": ["first", "second"]}},
    )
    key = limited.new_key(name, budget="9/total")
    assert limited.chat(key, max_tokens=1000).status == 200
    (entry,) = limited.settled(name, 1)
    assert (entry["upstream"], entry["prompt_tokens"]) == ("second", ORDINARY_TOKENS[0])
    # All tokens of the first one are left, so it is asked again.
    assert limited.chat(key, max_tokens=1000).status == 200
    assert upstream.count(failing) == 2
