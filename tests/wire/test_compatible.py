"""Errors under the status of a success, for clients that read them only so."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, free_port
from tests.support.scripts import DONE, completion, event, reply, stream

ERROR = {"message": "no", "type": "t", "param": None, "code": "c"}
THEIRS = json.dumps({"error": ERROR}).encode()
HTML = b"<html><body>502 at the edge</body></html>"
FAILURES: dict[str, tuple[list[Any], Any]] = {
    "401": ([reply("401 Unauthorized", THEIRS)], "c"),
    "429": ([reply("429 Too Many", THEIRS, Retry_After="7")], "c"),
    "500": ([reply("500 Oops", THEIRS)], "c"),
    "HTML 503": ([reply("503 Busy", HTML, Content_Type="text/html")], None),
    "refused": ([["close"]], "upstream_disconnected"),
    "time-out": ([["hold"]], "first_byte_timeout"),
}
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations"]


@pytest.fixture(scope="module")
def door(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, COMPATIBLE="true", API_REQUEST_TIMEOUT="3")


def told(answer: Answer, in_a_stream: bool) -> Any:
    """Give the error of an answer that has the status of a success."""
    assert answer.status == 200
    if not in_a_stream:
        assert answer.header("Content-Type") == "application/json"
        return answer.error
    assert answer.header("Content-Type").startswith("text/event-stream")
    (chunk,) = answer.chunks
    assert b"[DONE]" not in answer.body
    return chunk["error"]


def asked(path: str, wants_stream: bool) -> bytes:
    body: dict[str, Any] = {"model": "m1", "stream": True} if wants_stream else {"model": "m1"}
    said = {"input": "x"} if path.endswith(("embeddings", "moderations")) else {"prompt": "x"}
    return json.dumps({**body, **said}).encode()


@pytest.mark.parametrize("wants_stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("steps", "code"), FAILURES.values(), ids=FAILURES.keys())
def test_every_failure_is_told_under_200(
    door: Proxy, upstream: Upstream, steps: list[Any], code: Any, path: str, wants_stream: bool
) -> None:
    script = upstream.script(*steps)
    answer = ask(door.port, "POST", path, asked(path, wants_stream), X_Script=script)
    error = told(answer, wants_stream)
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["code"] == code
    line = door.line(answer.id)
    assert line["ending"] != "complete"
    if steps[0][0] == "send" and "Retry-After" in steps[0][1]:
        assert answer.header("Retry-After") == "7"


@pytest.mark.parametrize("wants_stream", [False, True])
def test_requests_that_are_refused_here_are_told_under_200_too(
    serve: Serve, upstream: Upstream, door: Proxy, wants_stream: bool
) -> None:
    keyed = serve(TARGET_BASE_URL=upstream.url, COMPATIBLE="on", ENABLE_AUTH="true", API_KEY_SECRET="k-123456")
    body = asked("/v1/chat/completions", wants_stream)
    assert told(ask(keyed.port, "POST", "/v1/chat/completions", body), wants_stream)["code"] == "invalid_api_key"
    assert told(ask(keyed.port, "POST", "/v1/chat", body), wants_stream)["code"] == "invalid_api_key"
    wrong = json.dumps({"model": "m1", "stream": wants_stream, "messages": []}).encode()
    assert told(ask(door.port, "POST", "/v1/chat/completions", wrong), wants_stream)["param"] == "messages"
    assert told(ask(door.port, "POST", "/v1/chat/completions", b"{"), False)["type"] == "invalid_request_error"


def test_successes_are_untouched(door: Proxy, upstream: Upstream) -> None:
    body = b'\n {"id" : "x","choices":[ {"index":0,"message":{"content":"a \\u00e9"}} ],"n":1.50}\n'
    whole = upstream.script(reply(body=body, Content_Type="application/json"))
    assert chat(door.port, headers={"X-Script": whole}).body == body
    streamed = upstream.script(*stream(event("Hi", "stop"), DONE))
    assert chat(door.port, stream=True, headers={"X-Script": streamed}).body.decode() == event("Hi", "stop") + DONE
    assert ask(door.port, "GET", "/v1/files").json["target"] == "/v1/files"


def test_the_official_client_raises_on_a_stream(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply("429 Too Many", THEIRS))
    headers = {"X-Script": script}
    with (
        openai.OpenAI(base_url=f"{door.url}/v1", api_key="k", max_retries=0, default_headers=headers) as client,
        pytest.raises(openai.APIError, match="no"),
    ):
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True))


@pytest.mark.parametrize(("setting", "header", "status"), [("false", "true", 200), ("true", "off", 429)])
def test_a_request_may_say_so_itself(serve: Serve, upstream: Upstream, setting: str, header: str, status: int) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, COMPATIBLE=setting)
    script = upstream.script(reply("429 Too Many", THEIRS))
    assert chat(proxy.port, headers={"X-Script": script, "X-Compatible": header}).status == status
    assert "X-Compatible" not in {name for name, _ in upstream.last(script)["headers"]}
    assert chat(proxy.port, headers={"X-Compatible": "perhaps"}).error["code"] == "invalid_compatible"


def test_health_and_metrics_keep_their_statuses(serve: Serve) -> None:
    proxy = serve(TARGET_BASE_URL=f"http://127.0.0.1:{free_port()}", COMPATIBLE="true")
    assert ask(proxy.port, "GET", "/health").status == 503
    assert ask(proxy.port, "POST", "/metrics").status == 405
    assert chat(proxy.port).status == 200


@pytest.mark.parametrize("wants_stream", [False, True])
def test_native_mode_and_the_gateways_own_chat_do_so_too(serve: Serve, upstream: Upstream, wants_stream: bool) -> None:
    native = serve(NATIVE_OPENAI_BASE_URL=upstream.url, USE_NATIVE_OPENAI="true", COMPATIBLE="true")
    script = upstream.script(reply("503 Busy", HTML, Content_Type="text/html"))
    answer = chat(native.port, stream=wants_stream, headers={"X-Script": script})
    assert told(answer, wants_stream)["message"]
    good = upstream.script(reply(body=completion("Hi")))
    assert chat(native.port, headers={"X-Script": good}).body == completion("Hi")
    argo = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="blocked", COMPATIBLE="true")
    body = json.dumps({"model": "gpt4o", "prompt": ["Hi"], "stream": wants_stream}).encode()
    assert told(ask(argo.port, "POST", "/v1/chat", body), wants_stream)["type"]
