"""Errors, usage, estimates, requests that are handed over, and the endpoint itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.errors import (
    AuthenticationError,
    BadRequest,
    ClientGone,
    MethodNotAllowed,
    ModelNotAllowed,
    NotFound,
    PayloadTooLarge,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, get_header
from argoproxy.protocol.messages.answers.error_shape import answer_error, error_event
from argoproxy.protocol.messages.answers.signatures import MARK
from argoproxy.protocol.messages.endpoint import COUNT_TOKENS, MESSAGES, answer_count
from argoproxy.protocol.messages.estimate import IMAGE_TOKENS, estimate_tokens
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.rules import Rule
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, EventDecoder
from tests.support.doubles import FakeProgress
from tests.support.messages_grammar import check_grammar, chunk_of, read_frames

Json = dict[str, Any]
HI = [{"role": "user", "content": "Hi"}]


def upstream_error(status: int, message: str = "m", code: Any = None, kind: Any = "t") -> UpstreamStatus:
    body = {"error": {"message": message, "code": code, "type": kind}}
    return UpstreamStatus(status, (("Retry-After", "3"), ("Content-Type", "x")), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("m"), 400, "invalid_request_error"),
        (AuthenticationError("m"), 401, "authentication_error"),
        (ModelNotAllowed("m"), 403, "permission_error"),
        (NotFound("m"), 404, "not_found_error"),
        (MethodNotAllowed("m", ["POST"]), 405, "invalid_request_error"),
        (PayloadTooLarge("m"), 413, "request_too_large"),
        (UpstreamTimeout("m"), 504, "timeout_error"),
        (UpstreamUnreachable("m"), 502, "api_error"),
        (upstream_error(400, code="content_filter"), 400, "invalid_request_error"),
        (upstream_error(422), 400, "invalid_request_error"),
        (upstream_error(402), 402, "billing_error"),
        (upstream_error(429, code="insufficient_quota"), 402, "billing_error"),
        (upstream_error(429), 429, "rate_limit_error"),
        (upstream_error(409), 409, "conflict_error"),
        (upstream_error(418), 418, "invalid_request_error"),
        (upstream_error(503), 503, "api_error"),
        (upstream_error(503, code="slow_down"), 529, "overloaded_error"),
        (upstream_error(500, kind="overloaded_error"), 529, "overloaded_error"),
        (upstream_error(529), 529, "overloaded_error"),
        (upstream_error(302), 302, "api_error"),
        (upstream_error(500, code={"a": 1}, kind=["t"]), 500, "api_error"),
        (upstream_error(400, code=[1]), 400, "invalid_request_error"),
    ],
)
def test_the_table_of_errors(error: ProxyError, status: int, kind: str) -> None:
    response = MESSAGES.answer_error(error, "r1")
    assert isinstance(response.body, bytes)
    wanted = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "r1"}
    assert (response.status, json.loads(response.body)) == (status, wanted)
    assert get_header(response.headers, "request-id") == "r1"
    assert read_frames(MESSAGES.error_event(error, "r1")) == [wanted]
    if isinstance(error, UpstreamStatus):
        assert get_header(response.headers, "retry-after") == "3"


LIMIT = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."


@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (upstream_error(400, LIMIT, "context_length_exceeded"), "prompt is too long: 9000 tokens > 8192 maximum. This"),
        (upstream_error(400, LIMIT), "prompt is too long: 9000 tokens > 8192 maximum. This"),
        (upstream_error(413, LIMIT), "prompt is too long: 9000 tokens > 8192 maximum. This"),
        (upstream_error(400, "Too much.", "context_length_exceeded"), "prompt is too long: Too much."),
        (upstream_error(400, "prompt is too long: 2 tokens > 1 maximum", "context_length_exceeded"), "prompt is too"),
    ],
)
def test_a_full_context_is_told_in_words_that_agents_know(error: ProxyError, begin: str) -> None:
    response = answer_error(error, "r1")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["error"]["message"].startswith(begin)
    assert response.status == 400


def test_an_error_in_this_shape_is_sent_as_it_is() -> None:
    body = b'{"type": "error",  "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    error = UpstreamStatus(529, (("request-id", "up"),), body)
    assert (answer_error(error, "r1").body, answer_error(error, "r1").headers) == (body, (("request-id", "up"),))
    assert read_frames(error_event(error, "r1")) == [json.loads(body)]
    assert answer_error(UpstreamStatus(529, (), body), "r1").headers == (("request-id", "r1"),)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "m"}', b'{"type": "error", "error": {}}'])
def test_other_bodies_of_errors(body: bytes) -> None:
    response = answer_error(UpstreamStatus(500, (), body), "r1")
    assert isinstance(response.body, bytes)
    message = "m" if b'"m"' in body else "The upstream answered with status 500."
    assert json.loads(response.body)["error"] == {"type": "api_error", "message": message}


def parse(body: Json, endpoint: Any = MESSAGES, headers: Any = ()) -> Call:
    text = json.dumps(body).encode()
    request = ClientRequest("r1", 1, "POST", endpoint.path, "beta=true", tuple(headers), BytesBody(text))
    call = endpoint.parse(request)
    assert isinstance(call, Call)
    return call


def body_of(**fields: Any) -> Json:
    return {"model": "m", "max_tokens": 9, "messages": HI, **fields}


def test_a_request_is_a_chat_with_an_origin() -> None:
    call = parse(body_of(timeout=3, stream=True), headers=[("x-api-key", "k"), ("anthropic-beta", "new-2027")])
    assert (call.path, call.query, call.timeout_s, call.stream, call.include_usage) == (
        "/v1/chat/completions",
        "",
        3.0,
        True,
        True,
    )
    assert call.headers == (("Authorization", "Bearer k"),)
    assert call.origin is not None
    assert (call.origin.path, call.origin.query) == ("/v1/messages", "beta=true")
    assert parse(body_of(), headers=[("Authorization", "Bearer a"), ("x-api-key", "k")]).headers == (
        ("Authorization", "Bearer a"),
    )


NO_RULE = Rule("m")


def handed_over(call: Call, rule: Rule = NO_RULE) -> Json:
    body = json.loads(MESSAGES.hand_over(rule.apply(call)).payload())
    assert isinstance(body, dict)
    return body


def test_bytes_are_handed_over_unchanged() -> None:
    text = b'{ "max_tokens":9.0, "model":"m","messages":[{"role":"user","content":"Hi"}] ,"new":1e2}'
    call = MESSAGES.parse(ClientRequest("r", 1, "POST", "/v1/messages", "", (), BytesBody(text)))
    assert MESSAGES.hand_over(call).payload() == text
    assert MESSAGES.hand_over(call.origin or call) is call.origin


def test_what_a_rule_changes_is_carried_back() -> None:
    rule = Rule(
        name="m",
        upstream_model_name="m2",
        params={"temperature": 0.5, "stop": "END", "reasoning_effort": "low", "top_k": 4, "max_tokens": 5},
        append_to_last_user_message="!",
    )
    body = handed_over(parse(body_of(output_config={"format": None}, stream=True)), rule)
    assert body == {
        "model": "m2", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi!"}], "stream": True,
        "output_config": {"format": None, "effort": "low"}, "temperature": 0.5, "stop_sequences": ["END"], "top_k": 4,
    }  # fmt: skip


def test_text_is_appended_wherever_the_last_message_of_the_user_is() -> None:
    rule = Rule("m", append_to_last_user_message="!")
    answer = {"role": "assistant", "content": "x"}
    assert handed_over(parse(body_of(messages=[*HI, answer])), rule)["messages"][0]["content"] == "Hi!"
    assert handed_over(parse(body_of(messages=[answer])), rule)["messages"] == [
        answer,
        {"role": "user", "content": "!"},
    ]


def test_text_is_appended_to_blocks() -> None:
    rule = Rule("m", append_to_last_user_message="!")
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = handed_over(parse(body_of(messages=[{"role": "user", "content": blocks}])), rule)
    assert body["messages"][0]["content"] == [*blocks, {"type": "text", "text": "!"}]


def test_fields_that_a_rule_removes_are_removed() -> None:
    call = parse(body_of(top_k=4, output_config={"effort": "low", "format": None}))
    body = handed_over(call, Rule("m", remove=("top_k", "reasoning_effort")))
    assert body == body_of(output_config={"format": None})


def test_own_thoughts_are_not_handed_over() -> None:
    own = {"type": "thinking", "thinking": "t", "signature": MARK}
    foreign = {"type": "thinking", "thinking": "t", "signature": "EqQB"}
    messages = [*HI, {"role": "assistant", "content": [own, foreign, {"type": "text", "text": "x"}]}, *HI]
    content = handed_over(parse(body_of(messages=messages)))["messages"][1]["content"]
    assert content == [foreign, {"type": "text", "text": "x"}]


def test_other_messages_than_the_rule_expects_are_left_alone() -> None:
    call = parse(body_of())
    for messages in ([], [{"role": "user", "content": "other"}], [{"role": "user", "content": [{"type": "text"}]}]):
        other = call.with_body({**call.body, "messages": messages})
        assert json.loads(MESSAGES.hand_over(other).payload()) == body_of()


def test_m33_everything_that_goes_to_the_model_is_counted() -> None:
    blocks: list[Json] = [
        {"type": "text", "text": "12345678"},
        {"type": "image", "source": {"type": "base64", "data": "A" * 9999}},
        {"type": "thinking", "thinking": "1234"},
        {"type": "tool_use", "name": "read", "input": {"a": 1}},
        {"type": "tool_result", "content": [{"type": "text", "text": "1234"}]},
        {"type": "document", "source": {"type": "base64", "data": "A" * 100}},
        {"type": "document", "title": "T", "source": {"type": "text", "data": "12345"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "éé"}]}},
    ]
    assert estimate_tokens({"messages": [{"content": blocks}]}) == 2 + IMAGE_TOKENS + 1 + 3 + 1 + 2 + 3 + 1
    tool = {"name": "f", "cache_control": {"type": "ephemeral"}}
    assert estimate_tokens({"messages": [{"content": "1234"}], "system": "1234", "tools": [tool]}) == 5
    assert estimate_tokens({}) == 1


@pytest.mark.parametrize(
    "block",
    [
        '{"type":"new","content":[%s]}',
        '{"type":"tool_result","tool_use_id":"t","content":[%s]}',
        '{"type":"document","source":{"type":"content","content":[%s]}}',
    ],
)
def test_blocks_may_be_nested_as_deeply_as_json_can_be(block: str) -> None:
    inner, depth = '{"type":"text","text":"x"}', 900 // (block.count("{") + block.count("["))
    for _ in range(depth):
        inner = block % inner
    text = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[%b]}]}' % inner.encode()
    call = MESSAGES.parse(ClientRequest("r", 1, "POST", "/v1/messages", "", (), BytesBody(text)))
    assert answer_count(call).body == b'{"input_tokens":1}'


def test_a_tool_that_can_not_be_written_is_not_counted() -> None:
    schema: Json = {}
    for _ in range(100_000):
        schema = {"a": schema}
    assert estimate_tokens({"messages": HI, "tools": [{"name": "f", "input_schema": schema}]}) == 1


def test_a_count_is_an_answer() -> None:
    response = answer_count(parse({"model": "m", "messages": HI}, COUNT_TOKENS))
    assert response.body == b'{"input_tokens":1}'


USAGE_STREAM = b"".join(
    b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n"
    for event in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 2}}},
        {"type": "content_block_delta", "delta": {"text": '"usage"'}},
        {"type": "message_delta", "usage": {"output_tokens": 7, "input_tokens": None}},
    )
)


def test_the_usage_of_what_was_handed_over() -> None:
    seen: list[Json] = []
    meter = MESSAGES.usage_meter(seen.append)
    batch = EventDecoder().feed(USAGE_STREAM)
    assert meter.feed(batch) is batch
    assert (meter.finish(), seen[-1]["prompt_tokens"], seen[-1]["completion_tokens"]) == ([], 7, 7)
    MESSAGES.usage_meter(seen.append).feed([Document(b'{"usage": {"input_tokens": 1}}'), Event(b'data: "usage"\n\n')])
    assert seen[-1]["total_tokens"] == 1
    MESSAGES.usage_meter(seen.append).feed([Event(b'data: {"type":"message_delta","usage":null}\n\n')])
    assert len(seen) == 3


def answer(batches: Any, progress: FakeProgress, **fields: Any) -> bytes:
    call = parse(body_of(**fields))
    response = MESSAGES.answer(batches, call, progress)
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


BATCHES: list[Batch] = [[Event.of(chunk_of({"content": "x"}))], [], [Event.of(chunk_of({}, "stop")), DONE]]


def test_a_message_streamed_and_whole() -> None:
    events = read_frames(answer(BATCHES, FakeProgress(due=True), stream=True))
    assert {"type": "ping"} in events
    check_grammar(events)
    assert json.loads(answer(BATCHES, FakeProgress()))["content"] == [{"type": "text", "text": "x"}]
    assert {"type": "ping"} not in read_frames(answer(BATCHES, FakeProgress(), stream=True))


@pytest.mark.parametrize(("raised", "said"), [(UpstreamProtocolError("broke"), "broke"), (KeyError(), "It failed.")])
def test_an_error_is_the_last_event(raised: Exception, said: str) -> None:
    def broken() -> Any:
        yield BATCHES[0]
        raise raised

    progress = FakeProgress()
    events = read_frames(answer(broken(), progress, stream=True))
    assert (events[-1]["type"], events[-1]["error"]["message"], events[-1]["request_id"]) == ("error", said, "r1")
    assert progress.error is raised


def test_a_client_that_left_gets_no_error() -> None:
    def gone() -> Any:
        yield BATCHES[0]
        raise ClientGone

    with pytest.raises(ClientGone):
        answer(gone(), FakeProgress(), stream=True)


def test_what_can_not_be_converted_is_checked_when_a_route_needs_it() -> None:
    call = parse(body_of(container="c"))
    with pytest.raises(BadRequest, match="container"):
        MESSAGES.check(call)
    MESSAGES.check(call.origin or call)
