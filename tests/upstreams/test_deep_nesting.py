"""JSON that is nested just less deeply than a parser can follow, and that can't be written again: a request is refused,
a reply is broken."""

from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.messages.answers.signatures import sign
from argoproxy.protocol.responses.carrier import Thought, encode_thought
from argoproxy.protocol.responses.responses_endpoint import RESPONSES
from argoproxy.protocol.routing.call import Call, Identity
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.anthropic.adapter import AnthropicUpstream
from argoproxy.upstreams.argo.adapter import ArgoUpstream, ArgoUrls
from argoproxy.upstreams.argo.tools import parse_calls
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls
from argoproxy.upstreams.openai import OpenAIUpstream
from tests.support.messages_grammar import chunk_of, events_of

UPSTREAMS: list[Upstream] = [
    OpenAIUpstream(BaseUrl.parse("https://up")),
    AnthropicUpstream(BaseUrl.parse("https://up")),
    DashScopeUpstream(DashScopeUrls.parse("https://up/api/v1")),
    ArgoUpstream(ArgoUrls(), Identity("me")),
]


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


DEEP = nested(100_000)


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda upstream: upstream.name)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_request_that_cannot_be_written_again_is_refused(upstream: Upstream, path: str) -> None:
    asked = {
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt": "Hi",
        "response_format": {"type": "json_schema"},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": DEEP}}
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": DEEP}}
    body = {"model": "m", **asked, "tools": [tool], "response_format": schema, "metadata": DEEP}
    with pytest.raises(BadRequest, match="can't be encoded"):
        upstream.completion_request(Call("id", 7, path, "", (), body, None))


def test_arguments_of_a_reply_that_cannot_be_written_again_break_it() -> None:
    arguments = {"function": {"name": "f", "arguments": DEEP}}
    with pytest.raises(UpstreamProtocolError):
        parse_calls([arguments], "1")
    with pytest.raises(UpstreamProtocolError):
        events_of([chunk_of({"tool_calls": [{"index": 0, **arguments}]})])


def test_details_of_a_thought_that_cannot_be_written_again_break_it() -> None:
    detail = {"type": "reasoning.text", "signature": "s", "format": DEEP}
    with pytest.raises(UpstreamProtocolError):
        sign([detail])
    with pytest.raises(UpstreamProtocolError):
        encode_thought(Thought("x", (detail,)), "m")


@pytest.mark.parametrize("field", ["metadata", "text", "tools"])
def test_what_a_response_could_not_repeat_is_refused_before_an_upstream_is_asked(field: str) -> None:
    tool = {"type": "function", "name": "f", "parameters": DEEP}
    body = {"model": "m", "input": "Hi", field: [tool] if field == "tools" else {"a": DEEP}}
    origin = Call("id", 7, "/v1/responses", "", (), body, None)
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(BadRequest, match="can't be encoded"):
        RESPONSES.check(Call("id", 7, "/v1/chat/completions", "", (), chat, None, origin=origin))
