"""The upstream without a server: requests sends what it asks, `responses` answers. A test of your own can begin so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import responses
from enterprise_upstream import Enterprise
from responses import matchers

from argoproxy.api import BytesBody, Call, ClientRequest, Headers, UpstreamRequest, UpstreamStatus, make_call

CHAT = "/v1/chat/completions"
HI = {"role": "user", "content": "Hi"}
CONTEXT = {"role": "system", "content": "Be kind."}
ENTERPRISE = Enterprise(
    base_url="http://home.test/v1", regions={"eu": "http://eu.test/v1"}, context=CONTEXT["content"], redact=["[0-9]+"]
)
COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
}


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply that is all there, as an upstream reads it."""

    status: int
    headers: Headers
    body: bytes

    def iter_bytes(self) -> Iterator[bytes]:
        yield self.body

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return self.body


def send(asked: UpstreamRequest) -> Answered:
    """Send what an upstream asks, and return what came back."""
    assert isinstance(asked.body, bytes | None)
    reply = requests.request(asked.method, asked.url, headers=dict(asked.headers), data=asked.body, timeout=5)
    return Answered(reply.status_code, tuple(reply.headers.items()), reply.content)


def call(*headers: tuple[str, str], **body: Any) -> Call:
    request = ClientRequest("id", 1, "POST", CHAT, "", headers, BytesBody(b""))
    return make_call(request, {"model": "m", "messages": [HI], **body}, CHAT)


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    """What answers in the place of every server; a request that no test expects fails."""
    with responses.RequestsMock() as mock:
        yield mock


def test_a_chat_goes_to_the_callers_region_in_the_enterprises_context(server: responses.RequestsMock) -> None:
    server.post(
        "http://eu.test/v1/chat/completions",
        json=COMPLETION,
        match=[
            matchers.json_params_matcher({"model": "m", "messages": [CONTEXT, HI]}),
            matchers.header_matcher({"Authorization": "Bearer theirs", "Content-Type": "application/json"}),
        ],
    )
    asked = call(("X-Region", "eu"), ("Authorization", "Bearer theirs"))
    ((document,),) = ENTERPRISE.read_completion(send(ENTERPRISE.completion_request(asked)), asked)
    assert document.chunk == COMPLETION


def test_a_stream_is_read_as_it_came(server: responses.RequestsMock) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    stream = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    server.post("http://home.test/v1/chat/completions", body=stream, content_type="text/event-stream")
    asked = call(stream=True)
    events = [
        event
        for batch in ENTERPRISE.read_completion(send(ENTERPRISE.completion_request(asked)), asked)
        for event in batch
    ]
    assert [event.chunk for event in events] == [chunk, None]


def test_a_refusal_keeps_its_status_and_its_words(server: responses.RequestsMock) -> None:
    server.post("http://home.test/v1/chat/completions", status=503, body="model is loading")
    reply = send(ENTERPRISE.completion_request(call()))
    error = ENTERPRISE.read_error(reply.status, reply.headers, reply.read())
    assert isinstance(error, UpstreamStatus)
    assert (error.status, json.loads(error.body)["error"]["message"]) == (503, "model is loading")


def test_models_are_listed_as_the_region_lists_them(server: responses.RequestsMock) -> None:
    listed = {"object": "list", "data": [{"id": "m", "object": "model"}]}
    server.get("http://home.test/v1/models", json=listed)
    asked = ENTERPRISE.model_list_request(ClientRequest("id", 1, "GET", "/v1/models", "", (), BytesBody(b"")))
    assert ENTERPRISE.read_model_list(send(asked).read(), "", 1).chunk == listed


def test_a_probe_asks_once(server: responses.RequestsMock) -> None:
    server.get("http://home.test/v1/models", status=401)
    assert send(ENTERPRISE.probe_request()).status == 401
