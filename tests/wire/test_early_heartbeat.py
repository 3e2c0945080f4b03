"""Heartbeats before an upstream answers: the client is told 200 and that somebody is there; what fails later is told
in the stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.client import Answer, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, completion, event, reply
from tests.support.silent_servers import full_backlog, silent_server

BEAT = b": heartbeat\n\n"
BEATING = {"EARLY_HEARTBEAT": "true", "HEARTBEAT": "0.1"}
BEATS = 3
ASKED = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
STREAM = [["send", CHUNKED + bodies([event("Hi"), event("", "stop"), DONE])]]


@pytest.fixture(params=["gthread", "gevent", "sync"])
def worker_class(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def door(serve: Serve, upstream: Upstream, worker_class: str) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, **BEATING)


def after_beats(
    door: Proxy, upstream: Upstream, script: str, path: str = "/v1/chat/completions", **asked: Any
) -> Answer:
    """Ask, hear some heartbeats, and only then let the upstream go on."""
    with Client(door.port) as client:
        client.send("POST", path, json.dumps(asked or ASKED).encode(), X_Script=script)
        client.until(BEAT, BEATS)
        upstream.open(script)
        return client.answer()


def error_of(answer: Answer) -> dict[str, Any]:
    """Give the error a stream ended with: nothing but heartbeats and one event."""
    error: dict[str, Any] = answer.chunks[-1]["error"]
    assert answer.status == 200
    assert answer.whole
    assert answer.body.replace(BEAT, b"").count(b"data: ") == 1
    assert b"[DONE]" not in answer.body
    return error


def test_it_beats_while_the_head_is_awaited(door: Proxy, upstream: Upstream) -> None:
    script, begun = upstream.script(["await"], *STREAM), time.monotonic()
    answer = after_beats(door, upstream, script)
    assert (answer.status, answer.header("Content-Type")) == (200, "text/event-stream; charset=utf-8")
    assert answer.header("X-Accel-Buffering") == "no"
    assert BEATS <= answer.body.count(BEAT) <= (time.monotonic() - begun) / 0.1
    assert answer.body.startswith(BEAT)
    assert (answer.text, answer.body.endswith(DONE.encode()), answer.whole) == ("Hi", True, True)
    line = door.line(answer.id)
    assert (line["ending"], line["status"], line["bytes_sent"]) == ("complete", "200", str(len(answer.body)))


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"], indirect=True)
def test_the_connection_goes_on_afterwards(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["await"], *STREAM)
    with Client(door.port) as client:
        for _ in range(2):
            client.send("POST", "/v1/chat/completions", json.dumps(ASKED).encode(), X_Script=script)
            client.until(BEAT)
            upstream.open(script)
            assert client.answer().text == "Hi"


def test_nothing_is_early_where_the_upstream_is_fast(door: Proxy, upstream: Upstream) -> None:
    answer = chat(door.port, stream=True, headers={"X-Script": upstream.script(reply("401 No", b"{}"))})
    assert (answer.status, answer.error["code"]) == (401, None)
    assert chat(door.port, stream=True).body.startswith(b"data: ")


def test_a_refusal_that_follows_is_an_event(door: Proxy, upstream: Upstream) -> None:
    refusal = json.dumps({"error": {"message": "Who are you?", "type": "x", "param": None, "code": "invalid_api_key"}})
    answer = after_beats(door, upstream, upstream.script(["await"], reply("401 Unauthorized", refusal.encode())))
    assert error_of(answer)["code"] == "invalid_api_key"
    line = door.line(answer.id)
    assert (line["ending"], line["status"]) == ("upstream_error", "200")


@pytest.mark.parametrize("compatible", ["true", "false"])
def test_a_time_out_that_follows_is_an_event(door: Proxy, upstream: Upstream, compatible: str) -> None:
    script = upstream.script(["hold"])
    answer = chat(door.port, stream=True, timeout=1, headers={"X-Script": script, "X-Compatible": compatible})
    assert error_of(answer)["code"] == "first_byte_timeout"
    assert BEAT in answer.body
    line = door.line(answer.id)
    assert (line["ending"], line["code"], line["status"]) == ("upstream_timeout", "first_byte_timeout", "200")
    assert upstream.left(script)


def test_a_plain_answer_is_waited_for_in_silence(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["sleep", 0.4], reply(body=completion("Hi")))
    answer = chat(door.port, headers={"X-Script": script})
    assert answer.json["choices"][0]["message"]["content"] == "Hi"
    assert BEAT.strip() not in answer.body


def test_legacy_completions_too(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["await"], reply("503 Busy", b'{"error": {"message": "busy"}}'))
    answer = after_beats(door, upstream, script, "/v1/completions", model="m1", prompt="Hi", stream=True)
    assert error_of(answer)["message"] == "busy"


def test_a_client_that_leaves_meanwhile_is_seen(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["hold"])
    with Client(door.port) as client:
        body = json.dumps({"model": "m1", "messages": [], "stream": True}).replace("[]", '[{"role":"user"}]').encode()
        client.send("POST", "/v1/chat/completions", body, X_Script=script, X_Request_Id="early-leaver")
        client.until(BEAT)
    assert upstream.left(script)
    eventually(lambda: any("early-leaver" in line.values() for line in door.lines()))
    (line,) = [line for line in door.lines() if line.get("client_request_id") == "early-leaver"]
    assert (line["ending"], line["status"]) == ("client_gone", "200")
    assert "Traceback" not in door.log()


@pytest.fixture
def images(upstream: Upstream) -> Iterator[str]:
    """The URL of an image that takes its time."""
    with full_backlog() as port:
        yield f"http://127.0.0.1:{port}/slow.png"


def test_it_beats_while_images_are_fetched(serve: Serve, upstream: Upstream, worker_class: str, images: str) -> None:
    door = serve(
        TARGET_BASE_URL=upstream.url,
        WORKER_CLASS=worker_class,
        INLINE_IMAGES="true",
        IMAGE_ALLOW_PRIVATE="true",
        IMAGE_TIMEOUT="1",
        **BEATING,
    )
    content = [{"type": "image_url", "image_url": {"url": images}}]
    answer = chat(door.port, stream=True, messages=[{"role": "user", "content": content}])
    assert error_of(answer)["type"] == "invalid_request_error"
    assert BEAT in answer.body
    assert door.line(answer.id)["ending"] == "refused"


def test_it_beats_while_a_connection_is_made(serve: Serve, worker_class: str) -> None:
    with full_backlog() as port:
        door = serve(
            TARGET_BASE_URL=f"http://127.0.0.1:{port}", WORKER_CLASS=worker_class, CONNECT_TIMEOUT="1", **BEATING
        )
        answer = chat(door.port, stream=True)
    assert error_of(answer)["code"] == "connect_timeout"
    assert BEAT in answer.body


def test_it_beats_while_tls_is_awaited(serve: Serve, worker_class: str) -> None:
    with silent_server() as server:
        url = f"https://127.0.0.1:{server.port}"
        door = serve(TARGET_BASE_URL=url, WORKER_CLASS=worker_class, CONNECT_TIMEOUT="1", **BEATING)
        answer = chat(door.port, stream=True)
    assert error_of(answer)["code"] == "connect_timeout"
    assert BEAT in answer.body


def test_the_official_client_waits_and_raises(door: Proxy, upstream: Upstream) -> None:
    late = upstream.script(["sleep", 0.4], *STREAM)
    refused = upstream.script(["sleep", 0.4], reply("401 No", b'{"error": {"message": "no"}}'))
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0) as client:
        for script in (late, refused):
            stream = client.chat.completions.create(
                model="m1",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                extra_headers={"X-Script": script},
            )
            if script == late:
                assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hi"
            else:
                with pytest.raises(openai.APIError, match="no"):
                    list(stream)


def test_an_upstream_that_is_asked_whole_is_waited_for_too(
    serve: Serve, upstream: Upstream, worker_class: str, tmp_path: Path
) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, MODE="non_stream", **BEATING)
    script = upstream.script(["sleep", 0.4], reply(body=completion("Hi")))
    answer = chat(door.port, stream=True, headers={"X-Script": script})
    assert (answer.text, BEAT in answer.body) == ("Hi", True)
    assert json.loads(upstream.last(script)["body"]).get("stream") is not True


def test_native_replies_are_not_touched(serve: Serve, upstream: Upstream) -> None:
    door = serve(NATIVE_OPENAI_BASE_URL=f"{upstream.url}/v1/", USE_NATIVE_OPENAI="true", **BEATING)
    answer = chat(door.port, stream=True, headers={"X-Script": upstream.script(["sleep", 0.4], *STREAM)})
    assert BEAT not in answer.body
    assert answer.text == "Hi"
