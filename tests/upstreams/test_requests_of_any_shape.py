"""Requests of Messages and of the Responses API with every field replaced by values of every type: each is served, or
refused by the name of its field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import Endpoint
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.messages.answers.signatures import sign
from argoproxy.protocol.messages.endpoint import COUNT_TOKENS, MESSAGES
from argoproxy.protocol.responses.carrier import Thought, encode_thought
from argoproxy.protocol.responses.responses_endpoint import RESPONSES
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.stream.sse import DONE, Event
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.anthropic.adapter import AnthropicUpstream
from argoproxy.upstreams.argo.adapter import ArgoUpstream, ArgoUrls
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls
from argoproxy.upstreams.openai import OpenAIUpstream
from tests.support.doubles import FakeProgress
from tests.support.messages_grammar import call_of, chunk_of, usage_of

Json = dict[str, Any]

UPSTREAMS: tuple[Upstream, ...] = (
    OpenAIUpstream(BaseUrl.parse("http://up")),
    AnthropicUpstream(BaseUrl.parse("http://up")),
    DashScopeUpstream(DashScopeUrls.parse("http://up/api/v1")),
    ArgoUpstream(ArgoUrls(), Identity("me")),
)
DETAIL = {"type": "reasoning.text", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
TEXT = {"type": "text", "text": "Hi"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
MESSAGE: Json = {
    "model": "m",
    "max_tokens": 2000,
    "stream": False,
    "temperature": 0.5,
    "top_p": 0.99,
    "top_k": 3,
    "stop_sequences": ["a"],
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "tools": [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "system": [{**TEXT, "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                TEXT,
                IMAGE,
                {"type": "document", "title": "t", "context": "c", "source": {"type": "text", "data": "x"}},
                {"type": "document", "source": {"type": "content", "content": [TEXT]}},
                {"type": "search_result", "title": "t", "source": "s", "content": [TEXT]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "h", "signature": sign([DETAIL])},
                {"type": "redacted_thinking", "data": sign([DETAIL])},
                TEXT,
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "t", "url": "u"}]},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [TEXT, IMAGE]},
                {"type": "mid_conv_system", "content": [TEXT]},
            ],
        },
        {"role": "system", "content": "now"},
    ],
}
RESPONSE: Json = {
    "model": "m",
    "instructions": "be",
    "stream": False,
    "background": False,
    "max_output_tokens": 20,
    "temperature": 1,
    "top_p": 0.5,
    "parallel_tool_calls": True,
    "truncation": "auto",
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
        {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "f"}]},
        {"type": "web_search"},
    ],
    "input": [
        {"role": "system", "content": [{"type": "input_text", "text": "d"}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "http://x/y.png", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,iVBO", "filename": "f"},
            ],
        },
        {"type": "reasoning", "encrypted_content": encode_thought(Thought("x", (DETAIL,)), "m"), "summary": []},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "x"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "namespace": "ns", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "o"}]},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "fine"},
        {"type": "item_reference", "id": "x"},
    ],
}
#: What upstreams without files take.
WITHOUT_FILE = {**RESPONSE, "input": [item for place, item in enumerate(RESPONSE["input"]) if place != 1]}
VALUES: list[Any] = [None, True, -1, 1.5, 10**30, "", "x", "\ud800", [], [None], [[]], [5], {}, {"type": 5}, {"x": [1]}]
VALUES += [{"type": "x"}, [{"type": "x", "text": 5, "refusal": ["y"]}], {"type": "text", "text": None}]
GONE = object()
#: Fields that have to do with another one.
OTHER_NAMES = {"tools": "tool_choice", "system": "messages"}
BATCHES = [
    [Event.of(chunk_of({"content": "a", "reasoning_content": "h", "reasoning_details": [DETAIL]}))],
    [
        Event.of(chunk_of(call_of(0, '{"input":"x"}', "f", "c"), "tool_calls")),
        Event.of(usage_of(prompt_tokens=1)),
        DONE,
    ],
]


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (name,)
        yield from ((name, *rest) for rest in places(item))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return a value with another one at a place, or without the one that stands there."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) > 1:
        copy[place[0]] = replaced(value[place[0]], place[1:], new)
    elif new is GONE:
        del copy[place[0]]
    else:
        copy[place[0]] = new
    return copy


def serve(endpoint: Endpoint, body: Json, upstreams: Sequence[Upstream]) -> None:
    """Do with a request all that is done with one before it is sent, and with its answer. Raises BadRequest."""
    text = json.dumps(body).encode()
    call = endpoint.parse(ClientRequest("r1", 7, "POST", endpoint.path, "", (), BytesBody(text)))
    with call.name_client_fields():
        validate(call.body, call.path)
    endpoint.hand_over(call).payload()
    endpoint.check(call)
    for upstream in upstreams:
        with call.name_client_fields():
            upstream.completion_request(call)
    progress = FakeProgress()
    response = endpoint.answer(BATCHES, call, progress)
    answer = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    assert answer
    assert progress.error is None


def refusal_of(endpoint: Endpoint, body: Json, upstreams: Sequence[Upstream]) -> Exception | None:
    """Return what serving a request raises, None if it is served."""
    try:
        serve(endpoint, body, upstreams)
    except Exception as error:  # noqa: BLE001 any other than BadRequest is what is looked for
        return error
    return None


@pytest.mark.parametrize(
    ("endpoint", "body", "upstreams"),
    [
        (MESSAGES, MESSAGE, UPSTREAMS),
        (COUNT_TOKENS, MESSAGE, UPSTREAMS[:1]),
        (RESPONSES, RESPONSE, UPSTREAMS[:2]),
        (RESPONSES, WITHOUT_FILE, UPSTREAMS[2:]),
    ],
)
def test_each_value_is_served_or_refused_by_name(endpoint: Endpoint, body: Json, upstreams: Sequence[Upstream]) -> None:
    serve(endpoint, body, upstreams)
    for place in places(body):
        for value in [*VALUES, GONE]:
            error = refusal_of(endpoint, replaced(body, place, value), upstreams)
            named = (place[0], OTHER_NAMES.get(place[0], place[0]))
            assert error is None or (isinstance(error, BadRequest) and str(error.param).startswith(named)), (
                place,
                value,
                error,
            )
