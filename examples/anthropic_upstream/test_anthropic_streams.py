"""Streams, in every cut and broken off at every place."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic_fakes import (
    END,
    MESSAGE,
    START,
    TOP,
    USAGE,
    WHOLE,
    Json,
    batches,
    block,
    delta,
    frame,
    read_stream,
    whole,
)

from argoproxy.api import DONE, ProxyError, UpstreamProtocolError, assemble_completion
from tests.support.cuts import cuts

#: In the manner of recorded ones: a ping in between, padding, cumulative counts, an empty first piece of JSON.
RECORDED = b"".join(
    [
        START,
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm, "},
            {"type": "thinking_delta", "thinking": "世"},
            {"type": "signature_delta", "signature": "Eq=="},
        ),
        block(1, {"type": "redacted_thinking", "data": "x"}),
        b'event: ping\ndata: {"type": "ping"}\n\n',
        block(
            2,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Hello"},
            {"type": "citations_delta", "citation": {}},
            {"type": "text_delta", "text": " 界"},
        ),
        block(
            3,
            {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"q": 1}'},
        ),
        block(
            4,
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a"'},
            {"type": "input_json_delta", "partial_json": ":1}"},
        ),
        block(
            5,
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
        ),
        frame("something_new", delta={"text": "x"}),
        delta("tool_use", output_tokens=42, input_tokens=None, output_tokens_details={"thinking_tokens": 30}),
        END,
    ]
)
COUNTED = {
    "prompt_tokens": 113,
    "completion_tokens": 42,
    "total_tokens": 155,
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


def tool(index: int, name: str, arguments: str) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"toolu_{index + 1}", "type": "function", "function": function}


DELTAS: list[Json] = [
    {"role": "assistant", "content": ""},
    {"reasoning_content": "Hm, "},
    {"reasoning_content": "世"},
    {"content": "Hello"},
    {"content": " 界"},
    {"tool_calls": [tool(0, "f", "")]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    {"tool_calls": [tool(1, "g", "")]},
    {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    {},
]


def chunks(deltas: list[Json], finish_reason: str | None, **more: Any) -> list[Json]:
    reasons = [*[None] * (len(deltas) - 1), finish_reason]
    return [
        {**TOP, "choices": [{"index": 0, "delta": told, "logprobs": None, "finish_reason": reason}], **more}
        for told, reason in zip(deltas, reasons, strict=True)
    ]


def test_a_stream_in_every_cut() -> None:
    for pieces in cuts(RECORDED):
        assert read_stream(*pieces) == [*chunks(DELTAS, "tool_calls"), DONE]


def test_a_stream_with_usage() -> None:
    told = read_stream(RECORDED, stream_options={"include_usage": True})
    usage = {**TOP, "choices": [], "usage": COUNTED}
    assert told == [*chunks(DELTAS, "tool_calls", usage=None), usage, DONE]


def test_a_stream_and_a_whole_reply_say_the_same() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm, 世", "signature": "Eq=="},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Hello"},
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"q": 1}},
        {"type": "text", "text": " 界"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ]
    usage = {**USAGE, "output_tokens": 42, "output_tokens_details": {"thinking_tokens": 30}}
    document = whole({**MESSAGE, "content": content, "stop_reason": "tool_use", "usage": usage})
    told = read_stream(RECORDED, stream_options={"include_usage": True})
    assembled = assemble_completion(told[:-1])
    assert assembled["choices"][0]["message"].pop("refusal", None) is None
    assert document["choices"][0]["message"].pop("refusal") is None
    assert document == assembled


def test_silence_is_passed_on_and_half_an_event_is_none() -> None:
    pieces = [b"", START[:9], START[9:], b"", b'event: ping\ndata: {"type":"ping"}\n\n', delta("end_turn"), END]
    begun, ended = chunks([{"role": "assistant", "content": ""}, {}], "stop")
    assert list(batches(pieces)) == [[], [begun], [], [], [], [ended, DONE]]
    assert [len(batch) for batch in batches([b"", b"{", b"", b'"content":[]}'], WHOLE)] == [0, 0, 1]


def test_nothing_is_taken_after_the_end() -> None:
    pieces = [START + delta("end_turn") + END + delta("refusal") + END, b"never asked for"]
    assert next(batches(pieces))[-1] is DONE
    assert len(list(batches(pieces))) == 1


@pytest.mark.parametrize("ending", [END, END.rstrip(), b"", b": bye\n\n"])
def test_a_stream_that_said_why_it_stopped_is_whole(ending: bytes) -> None:
    told = read_stream(START, delta("end_turn") + ending)
    assert [told[-2]["choices"][0]["finish_reason"], told[-1]] == ["stop", DONE]


def until_it_breaks(pieces: list[bytes]) -> tuple[list[Any], ProxyError]:
    said: list[Any] = []
    try:
        for batch in batches(pieces):
            said += batch
    except ProxyError as error:
        return said, error
    raise AssertionError(said)


def test_a_stream_that_broke_off_says_so_after_what_it_said() -> None:
    spoken = START + block(0, {"type": "text", "text": "Hel"}, {"type": "text_delta", "text": "lo"})
    for told in (spoken, spoken + delta(None, output_tokens=3), spoken + END, spoken + delta("end_turn")[:-9]):
        for pieces in cuts(told):
            said, error = until_it_breaks(pieces)
            assert said == chunks([{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}], None)
            assert error.code == "upstream_stream_cut_short"


def test_wherever_a_stream_breaks_off_it_is_told() -> None:
    for length in range(RECORDED.index(b"event: message_delta")):
        said, error = until_it_breaks([RECORDED[:length]])
        assert said == chunks(DELTAS, None)[: len(said)]
        assert isinstance(error, UpstreamProtocolError)
        assert error.code == "upstream_stream_cut_short"


def test_broken_json_in_a_stream() -> None:
    moving = batches([START + b"data: {\n\n"])
    assert len(next(moving)) == 1
    with pytest.raises(ProxyError, match="invalid JSON"):
        next(moving)
