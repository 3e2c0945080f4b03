"""The upstream without a server: requests sends what it asks, `responses` answers. A test of your own can begin so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from anthropic_fakes import END, MESSAGE, START, FakeReply, Json, block, delta
from anthropic_upstream import OVERLOADED, Anthropic
from responses import matchers

from argoproxy.api import (
    BytesBody,
    Call,
    ClientRequest,
    UpstreamRequest,
    UpstreamStatus,
    assemble_completion,
    make_call,
)

CHAT = "/v1/chat/completions"
MESSAGES, MODELS = "https://up.test/v1/messages", "https://up.test/v1/models"
UPSTREAM = Anthropic(base_url="https://up.test", api_key="sk-ant-1", max_tokens=9)


def send(asked: UpstreamRequest) -> tuple[int, FakeReply]:
    """Send what an upstream asks, and return the status and the reply that came back."""
    assert isinstance(asked.body, bytes | None)
    reply = requests.request(asked.method, asked.url, headers=dict(asked.headers), data=asked.body, timeout=5)
    return reply.status_code, FakeReply([reply.content], tuple(reply.headers.items()))


def call(**body: Any) -> Call:
    request = ClientRequest("id", 1, "POST", CHAT, "", (), BytesBody(b""))
    asked = {"model": "claude", "messages": [{"role": "user", "content": "Hi"}], **body}
    return make_call(request, asked, CHAT)


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    """What answers in the place of every server; a request that no test expects fails."""
    with responses.RequestsMock() as mock:
        yield mock


def test_a_chat_is_asked_as_a_message_with_the_key_and_the_version(server: responses.RequestsMock) -> None:
    hi = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    server.post(
        MESSAGES,
        json={**MESSAGE, "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"},
        match=[
            matchers.json_params_matcher({"model": "claude", "max_tokens": 9, "messages": hi}, strict_match=False),
            matchers.header_matcher({"x-api-key": "sk-ant-1", "anthropic-version": "2023-06-01"}),
        ],
    )
    status, reply = send(UPSTREAM.completion_request(call()))
    ((document,),) = UPSTREAM.read_completion(reply, call())
    assert document.chunk
    assert (status, document.chunk["choices"][0]["message"]["content"]) == (200, "Hello")


def test_a_stream_becomes_chunks(server: responses.RequestsMock) -> None:
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
    server.post(MESSAGES, body=START + text + delta("end_turn") + END, content_type="text/event-stream")
    asked = call(stream=True)
    _, reply = send(UPSTREAM.completion_request(asked))
    chunks = [event.chunk for batch in UPSTREAM.read_completion(reply, asked) for event in batch if event.chunk]
    assert assemble_completion(chunks)["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize(("sent", "told"), [(429, 429), (OVERLOADED, 503)])
def test_a_refusal_becomes_openais(server: responses.RequestsMock, sent: int, told: int) -> None:
    error: Json = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.post(MESSAGES, status=sent, json=error, headers={"retry-after": "3"})
    status, reply = send(UPSTREAM.completion_request(call()))
    made = UPSTREAM.read_error(status, reply.headers, reply.read())
    assert isinstance(made, UpstreamStatus)
    assert (made.status, json.loads(made.body)["error"]["message"]) == (told, "Overloaded")
    assert ("retry-after", "3") in made.headers


def test_models_are_listed_as_openai_lists_them(server: responses.RequestsMock) -> None:
    server.get(MODELS, json={"data": [{"id": "claude", "created_at": "1970-01-01T00:00:07Z"}]})
    asked = UPSTREAM.model_list_request(ClientRequest("id", 1, "GET", "/v1/models", "", (), BytesBody(b"")))
    listed = UPSTREAM.read_model_list(send(asked)[1].read(), "", 1).chunk
    assert listed["data"] == [{"id": "claude", "object": "model", "created": 7, "owned_by": "anthropic"}]
