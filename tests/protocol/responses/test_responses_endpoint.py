from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from argoproxy.errors import BadRequest, ClientGone, InternalError, ProxyError, UpstreamProtocolError
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, ClientResponse
from argoproxy.protocol.responses.carrier import Thought, encode_thought
from argoproxy.protocol.responses.responses_endpoint import RESPONSES, ResponseUsageMeter
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.rules import Rule
from argoproxy.protocol.stream.sse import Batch, Document, Event
from tests.protocol.responses.conversation import chunk, finish, request
from tests.support.doubles import FakeProgress
from tests.support.response_events import accumulate, parse_events

Json = dict[str, Any]


class Context(FakeProgress):
    """What an endpoint reports of an answer, all of its errors."""

    def __init__(self, due: bool = False) -> None:
        super().__init__((("Content-Type", "text/event-stream"), ("X-Kept", "1")), due)
        self.id = "r1"
        self.errors: list[Exception] = []

    def record_failure(self, error: ProxyError) -> None:
        self.errors.append(error)

    def record_crash(self, error: Exception) -> ProxyError:
        self.errors.append(error)
        return InternalError("It crashed.")


def parse(**body: Any) -> Call:
    text = json.dumps(request(**body)).encode()
    return RESPONSES.parse(ClientRequest("r1", 7, "POST", "/v1/responses", "", (), BytesBody(text)))


def answer(batches: Iterable[Batch], context: Context, **body: Any) -> ClientResponse:
    return RESPONSES.answer(batches, parse(**body), context)


def stream(batches: Iterable[Batch], context: Context) -> bytes:
    body = answer(batches, context, stream=True).body
    assert not isinstance(body, bytes)
    return b"".join(body)


BATCHES: list[Batch] = [[Event.of(one)] for one in [chunk({"content": "a"}), *finish()]]


def test_streamed_and_whole() -> None:
    whole = answer(BATCHES, Context())
    assert isinstance(whole.body, bytes)
    assert whole.headers == (("X-Kept", "1"), ("Content-Type", "application/json"))
    assert json.loads(whole.body) == accumulate(parse_events(stream(BATCHES, Context())))


def test_silence() -> None:
    body = stream([[], BATCHES[0], [], *BATCHES[1:]], Context(due=True))
    assert body.startswith(b": heartbeat\n\n")
    assert accumulate(parse_events(body))["status"] == "completed"
    assert b"event: keepalive\n" in body
    assert b"keepalive" not in stream([[], BATCHES[0], [], *BATCHES[1:]], Context())


@pytest.mark.parametrize(
    ("error", "message"), [(UpstreamProtocolError("It broke off."), "It broke off."), (ValueError("x"), "It crashed.")]
)
def test_a_failure_while_streaming_is_the_last_event(error: Exception, message: str) -> None:
    def batches() -> Iterable[Batch]:
        yield BATCHES[0]
        raise error

    context = Context()
    assert accumulate(parse_events(stream(batches(), context)))["error"]["message"] == message
    assert context.errors == [error]


def test_a_client_that_leaves_gets_nothing_more() -> None:
    def batches() -> Iterable[Batch]:
        yield BATCHES[0]
        raise ClientGone

    with pytest.raises(ClientGone):
        stream(batches(), Context())


def test_an_error_alone_is_a_failed_response() -> None:
    (event,) = parse_events(RESPONSES.error_event(UpstreamProtocolError("It broke off."), "r1"))
    assert (event["type"], event["response"]["id"]) == ("response.failed", "resp_r1")


def test_a_request_that_can_not_be_converted_is_refused_only_if_it_must_be() -> None:
    call = parse(previous_response_id="resp_1", stream=True)
    assert (call.model, call.stream) == ("m", True)
    assert RESPONSES.hand_over(call) is call.origin
    with pytest.raises(BadRequest):
        RESPONSES.check(call)
    RESPONSES.check(parse())


def test_a_call_names_what_was_left_out_of_it() -> None:
    assert parse(odd=1, top_k=3).left_out == ("odd", "top_k")


def hand_over(changes: Json, removed: str = "", **body: Any) -> Json:
    """Give what is sent to an upstream that serves the API, after a rule has changed the chat."""
    call = parse(**body)
    chat = {key: value for key, value in {**call.body, **changes}.items() if key != removed}
    sent: Json = json.loads(RESPONSES.hand_over(call.with_body(chat)).payload())
    return sent


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "n"}, {"model": "n"}),
        ({"max_tokens": 3}, {"max_output_tokens": 3}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"top_k": 3, "temperature": 0.5}, {"top_k": 3, "temperature": 0.5}),
        ({"stream_options": {"x": 1}}, {}),
    ],
)
def test_what_rules_change_is_carried_over(changes: Json, expected: Json) -> None:
    assert hand_over(changes) == request(**expected)


def test_what_rules_remove_is_removed() -> None:
    assert hand_over({}, removed="temperature", temperature=0.5) == request()
    assert hand_over({}, removed="reasoning_effort", reasoning={"effort": "low", "summary": "auto"}) == request(
        reasoning={"effort": None, "summary": "auto"}
    )


USER = {"role": "user", "content": "a"}
SAID = {"role": "assistant", "content": "x"}
PARTS = {"role": "user", "content": [{"type": "input_text", "text": "a"}]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("a", "ab"),
        ([USER], [{"role": "user", "content": "ab"}]),
        (
            [USER, {"role": "assistant", "content": "x"}],
            [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "x"}],
        ),
        ([PARTS], [{"role": "user", "content": [*PARTS["content"], {"type": "input_text", "text": "b"}]}]),
    ],
)
def test_text_for_the_user_is_carried_over(asked: Any, expected: Any) -> None:
    call = parse(input=asked)
    messages = [{**one, "content": "ab"} if one["role"] == "user" else one for one in call.body["messages"]]
    assert hand_over({"messages": messages}, input=asked)["input"] == expected


def test_text_for_a_user_who_said_nothing() -> None:
    said = [{"role": "assistant", "content": "x"}]
    messages = [*said, {"role": "user", "content": "b"}]
    assert hand_over({"messages": messages}, input=said)["input"] == [*said, {"role": "user", "content": "b"}]


def test_a_conversation_that_the_upstream_stores_gets_the_text_too() -> None:
    call = parse(input=None, previous_response_id="resp_1")
    changed = call.with_body({**call.body, "messages": [{"role": "user", "content": "b"}]})
    assert json.loads(RESPONSES.hand_over(changed).payload())["input"] == [{"role": "user", "content": "b"}]


def test_a_rule_sees_the_limits_of_a_request_that_can_not_be_converted() -> None:
    asked: Json = {"previous_response_id": "resp_1", "max_output_tokens": 5, "reasoning": {"effort": "low"}}
    filled = Rule("m", defaults={"max_tokens": 9, "reasoning_effort": "high"}).apply(parse(**asked))
    assert json.loads(RESPONSES.hand_over(filled).payload()) == request(**asked)
    removed = Rule("m", remove=("max_tokens",)).apply(parse(**asked))
    assert "max_output_tokens" not in json.loads(RESPONSES.hand_over(removed).payload())
    assert "max_tokens" not in parse(**{**asked, "max_output_tokens": True}).body, "its server says what is wrong"


def test_thoughts_that_this_proxy_encoded_are_not_handed_over() -> None:
    own = {"type": "reasoning", "summary": [], "encrypted_content": encode_thought(Thought("t"), "m")}
    other = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    assert hand_over({}, input=[own, other, USER])["input"] == [other, USER]


def test_usage_is_counted_in_the_terms_of_chats() -> None:
    counted: list[Json] = []
    meter = RESPONSES.usage_meter(counted.append)
    assert isinstance(meter, ResponseUsageMeter)
    usage = {
        "input_tokens": 4,
        "output_tokens": 6,
        "total_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    batch: Batch = [
        Event.of({"type": "response.created", "response": {"usage": None}}),
        Event.of({"type": "response.output_text.delta", "delta": '"input_tokens"'}),
        Event.of({"type": "x", "input_tokens": 3}),
        Event(b'data: [ "input_tokens" ]\n\n'),
        Event.of({"type": "response.completed", "response": {"usage": usage}}),
    ]
    assert meter.feed(batch) is batch
    meter.feed([Document.of({"object": "response", "usage": usage})])
    assert meter.finish() == []
    assert counted == 2 * [
        {
            "prompt_tokens": 4,
            "completion_tokens": 6,
            "total_tokens": 10,
            "prompt_tokens_details": {},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    ]


def test_texts_of_a_streamed_answer_are_found_once() -> None:
    sent = b'data: {"type": "response.output_text.delta", "delta": "Hello"}\n\n'
    done = b'data: {"type": "response.output_text.done", "text": "Hello"}\n\n'
    assert len(RESPONSES.answer_texts.findall(sent + done)) == 1
