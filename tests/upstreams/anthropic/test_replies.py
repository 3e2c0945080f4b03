"""Whole replies as a table; errors and endings, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.sse import DONE, Document
from tests.support.anthropic_replies import (
    END,
    MESSAGE,
    START,
    STREAM,
    TOP,
    UPSTREAM,
    WHOLE,
    Json,
    batches,
    block,
    delta,
    frame,
    make_call,
    read_stream,
    whole,
)
from tests.support.cuts import cuts
from tests.support.doubles import FakeReply


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, 503, {"message": "Overloaded", "code": None}),
        ({"type": "rate_limit_error", "message": "slow"}, 429, {"type": "rate_limit_error", "param": None}),
        (
            {"type": "invalid_request_error", "message": "prompt is too long: 9"},
            400,
            {"code": "context_length_exceeded"},
        ),
        ({"type": "new_error", "message": "words"}, 502, {"type": "new_error"}),
        ({"type": 5, "message": "words"}, 502, {"type": "upstream_error"}),
        ("words", 502, {"message": "words"}),
        (None, 502, {"message": "The upstream failed."}),
    ],
)
def test_an_error_in_a_stream_or_under_a_status_of_success(error: Any, status: int, told: Json) -> None:
    document = {"type": "error", "error": error}
    begun = START + block(0, {"type": "text", "text": ""})
    ways = [([begun + frame("error", error=error)], STREAM), ([json.dumps(document).encode()], WHOLE)]
    for pieces, headers in ways:
        moving = batches(pieces, headers)
        if headers is STREAM:
            assert len(next(moving)) == 1
        with pytest.raises(UpstreamStatus) as caught:
            next(moving)
        assert caught.value.status == status
        found = json.loads(caught.value.body)["error"]
        assert found == {**found, **told}


def test_an_error_that_comes_first_has_a_status() -> None:
    for pieces in cuts(frame("error", error={"type": "overloaded_error", "message": "Overloaded"})):
        with pytest.raises(UpstreamStatus):
            next(batches([piece for piece in pieces if piece]))


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_an_answer_ends(stop_reason: str, finish_reason: str) -> None:
    assert whole({**MESSAGE, "stop_reason": stop_reason})["choices"][0]["finish_reason"] == finish_reason
    assert read_stream(START, delta(stop_reason), END)[-2]["choices"][0]["finish_reason"] == finish_reason


TEXT = {"type": "text", "text": "Hi"}
DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "é"}}
CALLED = {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":"é"}'}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], {"content": ""}),
        ([TEXT], {"content": "Hi"}),
        ([TEXT, {"type": "text", "text": "!", "citations": []}], {"content": "Hi!"}),
        (
            [{"type": "thinking", "thinking": "Hm"}, TEXT],
            {"content": "Hi", "reasoning_content": "Hm", "reasoning_details": [{**DETAIL, "text": "Hm"}]},
        ),
        (
            [{"type": "thinking", "thinking": "", "signature": "Eq=="}],
            {"content": "", "reasoning_details": [{**DETAIL, "signature": "Eq=="}]},
        ),
        ([{"type": "text"}, 5, {"type": 5}], {"content": ""}),
    ],
)
def test_whole_replies(content: list[Any], message: Json) -> None:
    document = whole({**MESSAGE, "content": content, "stop_reason": "end_turn"})
    choice = {"index": 0, "message": {"role": "assistant", "refusal": None, **message}, "logprobs": None}
    assert document == {
        **TOP,
        "object": "chat.completion",
        "choices": [{**choice, "finish_reason": "stop", "native_finish_reason": "end_turn"}],
        "usage": {
            "prompt_tokens": 113,
            "completion_tokens": 1,
            "total_tokens": 114,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_a_reply_that_leaves_things_out_gets_ours() -> None:
    document = whole({"content": [], "usage": {"cache_read_input_tokens": None}})
    assert (document["id"], document["model"]) == ("chatcmpl-id", "alias")
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["choices"][0]["native_finish_reason"] is None
    assert "usage" not in document
    told = read_stream(frame("content_block_start"), frame("content_block_delta"), delta("end_turn"))
    assert [told[0]["id"], told[0]["model"], told[-1]] == ["chatcmpl-id", "alias", DONE]
    odd = frame("content_block_delta", index=3, delta={"type": "text_delta", "text": "a"})
    told = read_stream(odd, frame("content_block_stop", index=3), delta("end_turn"))
    assert assemble_completion(told[:-1])["choices"][0]["message"]["content"] == "a"


@pytest.mark.parametrize("stop_reason", ["end_turn", "stop_sequence", "tool_use", "something_new"])
def test_m12_calls_are_to_be_run_whatever_the_stop_reason(stop_reason: str) -> None:
    document = whole({**MESSAGE, "content": [TEXT, USE], "stop_reason": stop_reason})
    assert document["choices"][0]["finish_reason"] == "tool_calls"
    assert document["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "tool_calls": [CALLED],
    }


def test_a_message_of_calls_has_no_content() -> None:
    document = whole({**MESSAGE, "content": [USE], "stop_reason": "tool_use"})
    assert document["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize(("stop_reason", "finish_reason"), [("max_tokens", "length"), ("refusal", "content_filter")])
def test_calls_that_were_cut_are_not_to_be_run(stop_reason: str, finish_reason: str) -> None:
    document = whole({**MESSAGE, "content": [USE], "stop_reason": stop_reason})
    assert document["choices"][0]["finish_reason"] == finish_reason


def test_how_an_answer_ended_stands_beside_the_finish_reason() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    ending = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    streamed = read_stream(START, frame("message_delta", delta=ending, usage={}), END)[-2]["choices"][0]
    for choice in (whole({**MESSAGE, **ending})["choices"][0], streamed):
        assert choice["native_finish_reason"] == "refusal"
        assert choice["stop_details"] == details
        assert "stop_sequence" not in choice
    stopped = whole({**MESSAGE, "stop_reason": "stop_sequence", "stop_sequence": "END"})["choices"][0]
    assert (stopped["finish_reason"], stopped["stop_sequence"]) == ("stop", "END")


def test_a_legacy_completion_has_text_only() -> None:
    content = [{"type": "thinking", "thinking": "Hm", "signature": "E"}, TEXT, USE]
    message = {**MESSAGE, "content": content, "stop_reason": "end_turn"}
    asked = make_call("/v1/completions", prompt="Hi")
    ((event,),) = UPSTREAM.read_completion(FakeReply([json.dumps(message).encode()], WHOLE), asked)
    assert event.chunk
    assert event.chunk["object"] == "text_completion"
    (choice,) = event.chunk["choices"]
    assert (choice["text"], "message" in choice) == ("Hi", False)
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
    asked = make_call("/v1/completions", prompt="Hi", stream=True)
    (events,) = UPSTREAM.read_completion(FakeReply([START + text + delta("end_turn") + END], STREAM), asked)
    texts = [event.chunk["choices"][0]["text"] for event in events if event.chunk]
    assert texts == ["Hi", ""]


def test_a_tool_that_begins_with_its_arguments() -> None:
    told = read_stream(START, block(0, USE), delta("tool_use"), END)
    assert assemble_completion(told[:-1])["choices"][0]["message"]["tool_calls"] == [CALLED]


@pytest.mark.parametrize("reply", [b"", b"<html>", b"[]", b"{}", b'{"content": "Hi"}'])
def test_a_reply_that_is_no_message(reply: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        whole(reply)


def test_a_whole_reply_is_one_document() -> None:
    ((event,),) = UPSTREAM.read_completion(FakeReply([json.dumps(MESSAGE).encode()], WHOLE), make_call())
    assert isinstance(event, Document)
