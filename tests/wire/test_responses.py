"""`/v1/responses`, through a running proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.response_events import accumulate, parse_events
from tests.support.scripts import CHUNKED, DONE, chunked, event, reply, stream

Json = dict[str, Any]

PATH = "/v1/responses"


def respond(proxy: Proxy, script: str = "", path: str = PATH, **body: Any) -> Answer:
    headers = {"X-Script": script} if script else {}
    asked = {"model": "m1", "input": "hi", **body}
    return ask(proxy.port, "POST", path, json.dumps(asked).encode(), **headers)


@pytest.fixture
def converting(serve: Serve, upstream: Upstream) -> Proxy:
    """A proxy that converts all requests to chats."""
    return serve(TARGET_BASE_URL=upstream.url, RESPONSES="convert")


@pytest.mark.parametrize("path", [PATH, "/responses", "/v1/responses/"])
def test_a_response_is_made_of_a_chat(converting: Proxy, path: str) -> None:
    whole, streamed = respond(converting, path=path), respond(converting, path=path, stream=True)
    assert (whole.status, streamed.status) == (200, 200)
    assert streamed.header("Content-Type") == "text/event-stream; charset=utf-8"
    response = accumulate(parse_events(streamed.body))
    for one in (whole.json, response):
        assert one["output"][0]["content"][0]["text"] == "Hello there!"
        assert one["usage"]["total_tokens"] == 10
    line = converting.line(streamed.id)
    assert (line["route"], line["model"], line["prompt_tokens"]) == (PATH, "m1", "3")


def test_what_the_upstream_is_asked(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*stream(event("a", "stop"), DONE))
    assert respond(converting, script, stream=True, instructions="i", max_output_tokens=5).status == 200
    seen = upstream.last(script)
    assert seen["target"] == "/v1/chat/completions"
    assert json.loads(seen["body"]) == {
        "model": "m1",
        "messages": [{"role": "system", "content": "i"}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
    }


def test_a_stream_that_breaks_off_ends_with_a_failed_response(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["send", CHUNKED + chunked(event("Hel"))], ["close"])
    response = accumulate(parse_events(respond(converting, script, stream=True).body))
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert response["output"][0]["content"][0]["text"] == "Hel"


def test_errors_before_the_stream_keep_their_status(converting: Proxy, upstream: Upstream) -> None:
    body = b'{"error":{"message":"Too fast.","type":"rate_limit_error","param":null,"code":null}}'
    script = upstream.script(reply("429 Too Many Requests", body, Content_Type="application/json"))
    answer = respond(converting, script, stream=True)
    assert (answer.status, answer.body) == (429, body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": 3}, "input"),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
    ],
)
def test_what_can_not_be_converted_is_named(converting: Proxy, body: Json, param: str) -> None:
    answer = respond(converting, **body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


EVENTS = [
    'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_9"}}\n\n',
    'event: response.completed\ndata: {"type":"response.completed","sequence_number":1,"response":{"id":"resp_9",'
    '"usage":{"input_tokens":4,"output_tokens":6,"total_tokens":10}}}\n\n',
]


def test_an_upstream_that_serves_it_gets_the_request_as_it_is(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*stream(*EVENTS))
    answer = respond(proxy, script, stream=True, previous_response_id="resp_8", odd=[1.50])
    assert answer.body == "".join(EVENTS).encode()
    seen = upstream.last(script)
    asked = {"model": "m1", "input": "hi", "stream": True, "previous_response_id": "resp_8", "odd": [1.50]}
    assert (seen["target"], seen["body"]) == (PATH, json.dumps(asked))
    line = proxy.line(answer.id)
    assert (line["prompt_tokens"], line["completion_tokens"]) == ("4", "6")


def test_an_error_of_an_upstream_that_serves_it_is_passed_on(proxy: Proxy, upstream: Upstream) -> None:
    body = b'{"error": {"message": "The model `x` does not exist.", "param": "model", "code": 404}}'
    script = upstream.script(reply("404 Not Found", body, Content_Type="application/json"))
    answer = respond(proxy, script)
    assert (answer.status, answer.body) == (404, body)
    assert upstream.count(script) == 1


@pytest.mark.parametrize("kind", ["response.failed", "error"])
def test_a_forwarded_stream_that_ends_with_an_error_is_recorded_as_failed(
    proxy: Proxy, upstream: Upstream, kind: str
) -> None:
    events = [EVENTS[0], f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":1}}\n\n']
    answer = respond(proxy, upstream.script(*stream(*events)), stream=True)
    assert answer.body == "".join(events).encode()
    assert proxy.line(answer.id)["ending"] == "upstream_error"


def test_an_upstream_without_it_is_asked_once(start: Serve, upstream: Upstream) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url)
    script = upstream.script(reply("404 Not Found", b'{"detail":"Not Found"}', Content_Type="application/json"))
    assert respond(proxy, script).status == 404
    assert [seen["target"] for seen in upstream.seen(script)] == [PATH, "/v1/chat/completions"]
    assert respond(proxy).json["output"][0]["content"][0]["text"] == "Hello there!"
    assert respond(proxy, previous_response_id="resp_1").status == 400


def test_rules_change_what_is_forwarded(serve: Serve, upstream: Upstream) -> None:
    rule = "model=gpt*,upstream_model_name=m2,temperature=0.5,max_tokens=9,append_to_last_user_message=!"
    proxy = serve(TARGET_BASE_URL=upstream.url, RESPONSES="forward", LLM_PARAMS=rule)
    script = upstream.script(*stream(*EVENTS))
    respond(proxy, script, model="gpt-5", stream=True, temperature=1)
    asked = json.loads(upstream.last(script)["body"])
    assert asked == {"model": "m2", "input": "hi!", "stream": True, "temperature": 0.5, "max_output_tokens": 9}


def test_models_that_are_not_allowed_are_refused(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS="m1")
    assert respond(proxy, model="m2").status == 403


def test_what_was_left_out_is_in_the_debug_log(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, RESPONSES="convert", LOG_LEVEL="debug")
    items = [{"type": "item_reference", "id": "x"}, {"role": "user", "content": "a"}]
    answer = respond(proxy, prompt_cache_key="k", input=items)
    assert answer.status == 200
    assert any(line["id"] == answer.id and line["count"] == "2" for line in proxy.coded("left_out"))


def test_another_spelling_of_the_model_does_not_go_around_the_list(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS="m1")
    assert respond(proxy, Model="m2").status == 403


def test_r15_codex_reads_the_list_of_models(proxy: Proxy, upstream: Upstream) -> None:
    body = json.dumps({"object": "list", "data": [{"id": "m1"}]}).encode()
    script = upstream.script(reply(body=body, Content_Type="application/json"))
    answer = ask(proxy.port, "GET", "/v1/models?client_version=0.145.0", X_Script=script)
    assert answer.json == {"object": "list", "data": [{"id": "m1"}], "models": []}
    assert ask(proxy.port, "GET", "/v1/models", X_Script=script).body == body
