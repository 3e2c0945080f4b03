"""Streams, in every cut and broken off at every place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.runs import TextRun, cut_runs
from argoproxy.protocol.stream.sse import DONE
from argoproxy.upstreams.anthropic.messages import LaterSystem, make_conversation
from argoproxy.upstreams.base import read_in_runs
from tests.support.anthropic_replies import (
    END,
    MESSAGE,
    START,
    STREAM,
    TOP,
    UPSTREAM,
    USAGE,
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

PAGE = {"type": "web_search_result_location", "url": "https://x/", "title": "X", "encrypted_index": "e"}
SEARCH = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"q": 1}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []}
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
            {"type": "citations_delta", "citation": PAGE},
            {"type": "text_delta", "text": " 界"},
        ),
        block(
            3,
            {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"q": 1}'},
        ),
        block(4, FOUND),
        block(
            5,
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a"'},
            {"type": "input_json_delta", "partial_json": ":1}"},
        ),
        block(
            6,
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


def thought(**piece: str) -> Json:
    return {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **piece}


ROLE: Json = {"role": "assistant", "content": "", "refusal": None}
CITED = {"url": "https://x/", "title": "X", "start_index": 0, "end_index": 7}
DELTAS: list[Json] = [
    ROLE,
    {"reasoning_content": "Hm, ", "reasoning_details": [thought(text="Hm, ")]},
    {"reasoning_content": "世", "reasoning_details": [thought(text="世")]},
    {"reasoning_details": [thought(signature="Eq==")]},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 1}]},
    {"content": "Hello"},
    {"content": " 界"},
    {"annotations": [{"type": "url_citation", "url_citation": CITED}]},
    {"anthropic_blocks": [{"index": 3, **SEARCH}]},
    {"anthropic_blocks": [{"index": 4, **FOUND}]},
    {"tool_calls": [tool(0, "f", "")]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    {"tool_calls": [tool(1, "g", "")]},
    {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    {},
]


NATIVE = {"tool_calls": "tool_use", "stop": "end_turn"}


def chunks(deltas: list[Json], finish_reason: str | None, **more: Any) -> list[Json]:
    none: Json = {"finish_reason": None}
    last = {"finish_reason": finish_reason, "native_finish_reason": NATIVE[finish_reason]} if finish_reason else none
    endings = [*[none] * (len(deltas) - 1), last]
    return [
        {**TOP, "choices": [{"index": 0, "delta": told, "logprobs": None, **ending}], **more}
        for told, ending in zip(deltas, endings, strict=True)
    ]


def test_a_stream_in_every_cut() -> None:
    expected = [*chunks(DELTAS, "tool_calls"), DONE]
    for pieces in cuts(RECORDED):
        assert read_stream(*pieces) == expected


def test_a_stream_with_usage() -> None:
    told = read_stream(RECORDED, stream_options={"include_usage": True})
    usage = {**TOP, "choices": [], "usage": COUNTED}
    assert told == [*chunks(DELTAS, "tool_calls", usage=None), usage, DONE]


CONTENT: list[Json] = [
    {"type": "thinking", "thinking": "Hm, 世", "signature": "Eq=="},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "text", "text": "Hello 界", "citations": [{}, PAGE]},
    SEARCH,
    FOUND,
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
]
CONTENT_BACK = [{key: value for key, value in one.items() if key != "citations"} for one in CONTENT]
FULL_USAGE = {**USAGE, "output_tokens": 42, "output_tokens_details": {"thinking_tokens": 30}}


def test_a_stream_and_a_whole_reply_say_the_same() -> None:
    document = whole({**MESSAGE, "content": CONTENT, "stop_reason": "tool_use", "usage": FULL_USAGE})
    told = read_stream(RECORDED, stream_options={"include_usage": True})
    assert document == assemble_completion(told[:-1])


def test_what_was_read_goes_back_exactly() -> None:
    message = whole({**MESSAGE, "content": CONTENT, "stop_reason": "tool_use"})["choices"][0]["message"]
    assert make_conversation([message], LaterSystem.HOIST)[1] == [{"role": "assistant", "content": CONTENT_BACK}]


def test_silence_is_passed_on_and_half_an_event_is_none() -> None:
    pieces = [b"", START[:9], START[9:], b"", b'event: ping\ndata: {"type":"ping"}\n\n', delta("end_turn"), END]
    begun, ended = chunks([ROLE, {}], "stop")
    assert list(batches(pieces)) == [[], [], [begun, ended, DONE]]
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
            assert said == chunks([ROLE, {"content": "Hel"}, {"content": "lo"}], None)
            assert error.code == "upstream_stream_cut_short"


def test_wherever_a_stream_breaks_off_it_is_told() -> None:
    for length in range(RECORDED.index(b"event: message_delta")):
        said, error = until_it_breaks([RECORDED[:length]])
        assert said == chunks(DELTAS, None)[: len(said)]
        assert isinstance(error, UpstreamProtocolError)
        assert error.code == "upstream_stream_cut_short"


TEXT_BLOCK = block(0, {"type": "text", "text": ""})


def test_broken_json_in_a_stream() -> None:
    moving = batches([START + TEXT_BLOCK + b"data: {\n\n"])
    assert len(next(moving)) == 1
    with pytest.raises(ProxyError, match="invalid JSON"):
        next(moving)


def test_the_first_chunk_waits_for_the_first_block() -> None:
    moving = batches([START, frame("error", error={"type": "overloaded_error", "message": "Overloaded"})])
    with pytest.raises(UpstreamStatus) as caught:
        next(moving)
    assert caught.value.status == 503


def test_a_call_that_comes_first_has_no_content() -> None:
    called = block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})
    told = read_stream(START, called, delta("tool_use"), END)
    assert told[0]["choices"][0]["delta"]["content"] is None
    assert assemble_completion(told[:-1])["choices"][0]["message"]["content"] is None


def test_m16_interleaved_blocks_stay_apart() -> None:
    first, second = ({"type": "tool_use", "id": name, "name": name, "input": {}} for name in "fg")
    frames = [frame("content_block_start", index=0, content_block=first)]
    frames.append(frame("content_block_start", index=1, content_block=second))
    for index, text in ((0, '{"a":'), (1, '{"b":'), (0, "1}"), (1, "2}")):
        piece = {"type": "input_json_delta", "partial_json": text}
        frames.append(frame("content_block_delta", index=index, delta=piece))
    frames += [frame("content_block_stop", index=index) for index in (0, 1)]
    told = read_stream(START, *frames, delta("tool_use"), END)
    calls = assemble_completion(told[:-1])["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', '{"b":2}']


def test_m04_arguments_in_the_start_of_a_call_count_if_no_others_come() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    piece = {"type": "input_json_delta", "partial_json": '{"a": 1}'}
    for blocks, arguments in ((block(0, start), '{"a":1}'), (block(0, start, piece), '{"a": 1}')):
        told = read_stream(START, blocks, delta("tool_use"), END)
        (call,) = assemble_completion(told[:-1])["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == arguments


CUSTOM_TOOLS = [{"type": "custom", "custom": {"name": "patch"}}]


@pytest.mark.parametrize("spelled", ['{"input": "*** é"}', '{"input": "*** \\u00e9"}', "*** é"])
def test_a_call_of_a_custom_tool_in_every_cut(spelled: str) -> None:
    start = {"type": "tool_use", "id": "t", "name": "patch", "input": {}}
    for pieces in cuts(spelled):
        deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
        told = read_stream(START, block(0, start, *deltas), delta("tool_use"), END, tools=CUSTOM_TOOLS)
        (call,) = assemble_completion(told[:-1])["choices"][0]["message"]["tool_calls"]
        assert call == {"id": "t", "type": "custom", "custom": {"name": "patch", "input": "*** é"}}


def test_m32_the_last_usage_counts() -> None:
    end = delta("end_turn", input_tokens=20, cache_read_input_tokens=5, output_tokens=9)
    told = read_stream(START, delta(None, output_tokens=4), end, END, stream_options={"include_usage": True})
    assert told[-2]["usage"]["prompt_tokens"] == 20 + 3 + 5
    assert told[-2]["usage"]["completion_tokens"] == 9


def test_m31_without_usage_none_is_invented() -> None:
    start = frame("message_start", message={"id": "msg_01", "model": "claude-x"})
    told = read_stream(start, frame("message_delta", delta={"stop_reason": "end_turn"}), END)
    assert all("usage" not in chunk for chunk in told if chunk is not DONE)
    assert "usage" not in whole({"content": [], "stop_reason": "end_turn"})


def spell(text: str, *, slowly: bool, ascii_only: bool) -> bytes:
    """Return an event with text, in the usual order of its keys or in another one."""
    fields: Json = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    data = dict(reversed(fields.items())) if slowly else fields
    return b"event: content_block_delta\ndata: " + json.dumps(data, ensure_ascii=ascii_only).encode() + b"  \n\n"


@given(st.lists(st.text(max_size=9)), st.booleans(), st.booleans())
def test_text_is_the_same_whether_an_event_is_parsed_or_not(words: list[str], ascii_only: bool, usage: bool) -> None:
    start, page = {"type": "text", "text": ""}, {"type": "citations_delta", "citation": PAGE}
    told = []
    for slowly in (False, True):
        pieces = [spell(word, slowly=slowly, ascii_only=ascii_only) for word in words]
        frames = [frame("content_block_start", index=0, content_block=start), *pieces]
        frames.append(frame("content_block_delta", index=0, delta=page))
        frames.append(frame("content_block_stop", index=0))
        told.append(read_stream(START, *frames, delta("end_turn"), END, stream_options={"include_usage": usage}))
    assert told[0] == told[1]
    message = assemble_completion(told[0][:-1])["choices"][0]["message"]
    assert message["content"] == "".join(words)
    assert message["annotations"][0]["url_citation"]["end_index"] == len("".join(words))


@pytest.mark.parametrize("data", [b'"\xff"', b'"caf\xc3"', b'"\\q"', b'"a\tb"'])
def test_text_that_is_no_json_is_an_error(data: bytes) -> None:
    begun = START + frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
    fields = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%b}}' % data
    with pytest.raises(UpstreamProtocolError):
        read_stream(begun + b"data: " + fields + b"\n\n", delta("end_turn"), END)


class BreakingReply(FakeReply):
    """A reply whose connection breaks behind its pieces."""

    def iter_bytes(self) -> Iterator[bytes]:
        yield from super().iter_bytes()
        raise UpstreamProtocolError("broke")


def test_a_connection_that_breaks_behind_the_stop_reason_is_the_end() -> None:
    begun, ended = START + TEXT_BLOCK, delta("end_turn")
    for pieces, is_complete in (([begun, ended], True), ([begun], False), ([begun, ended[:-9]], False)):
        moving = UPSTREAM.read_completion(BreakingReply(pieces, STREAM), make_call(stream=True))
        if is_complete:
            assert [event for batch in moving for event in batch][-1] is DONE
        else:
            with pytest.raises(UpstreamProtocolError, match="broke"):
                list(moving)


@pytest.mark.parametrize("data", [b"hello", b"null", b"[]"])
def test_an_event_that_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="not a JSON object"):
        read_stream(START + b"data: " + data + b"\n\n", delta("end_turn"), END)
    assert read_stream(START + b"data: [DONE]\n\n", delta("end_turn"), END)[-1] is DONE


@pytest.mark.parametrize("odd", [None, [], {}, "x", 1.5, True])
def test_fields_of_other_types_break_nothing(odd: Any) -> None:
    use = {"type": "tool_use", "id": odd, "name": odd, "input": odd}
    frames = [
        frame("message_start", message=odd),
        frame("content_block_start", index=odd, content_block=odd),
        frame("content_block_start", index=odd, content_block={"type": odd}),
        *(frame("content_block_delta", index=odd, delta={"type": kind, "text": odd}) for kind in ("text_delta", odd)),
        frame("content_block_stop", index=odd),
        block(1, use, {"type": "input_json_delta", "partial_json": odd}),
        block(2, {"type": "text", "text": odd, "citations": odd}, {"type": "citations_delta", "citation": odd}),
        block(3, {"type": "thinking", "thinking": odd, "signature": odd}),
        frame("message_delta", delta=odd, usage=odd),
        frame("message_delta", delta={"stop_reason": odd}, usage={"input_tokens": odd}),
    ]
    told = read_stream(*frames, delta("end_turn"), END, tools=CUSTOM_TOOLS, stream_options={"include_usage": True})
    assert told[-1] is DONE
    content = [odd, {"type": odd}, use, {"type": "text", "text": odd}]
    document = whole({"id": odd, "model": odd, "content": content, "stop_reason": odd, "usage": odd})
    assert document["choices"][0]["finish_reason"]


RUN_TEXTS = [["Hello", " ", "", "界"], ['"', "\\", "\ud83d", "\ude00"], ["", ""], ["a", "b", "c"]]


@pytest.mark.parametrize("model", ["claude-x", 'a "quoted" name'])
@pytest.mark.parametrize("padding", ["", "   "])
def test_text_in_runs_is_the_text_of_its_events_in_every_cut(model: str, padding: str) -> None:
    start = frame("message_start", message={**MESSAGE, "model": model, "stop_reason": None})
    deltas = [
        frame("content_block_delta", padding, index=index, delta={"type": "text_delta", "text": text})
        for index, texts in enumerate(RUN_TEXTS)
        for text in texts
    ]
    opened = [frame("content_block_start", index=index, content_block={"type": "text", "text": ""}) for index in (0, 1)]
    stream = b"".join([start, *opened, *deltas, delta("end_turn"), END])
    told = read_stream(stream)
    wanted = [choice["delta"]["content"] for choice in contents(told)]
    assert wanted == [text for texts in RUN_TEXTS for text in texts if text]
    for pieces in cuts(stream):
        batches = list(read_in_runs(UPSTREAM, FakeReply(pieces, STREAM), make_call(stream=True)))
        events = [event if event is DONE else event.chunk for batch in batches for event in cut_runs(batch)]
        assert events == told


def contents(chunks: list[Any]) -> Iterator[Json]:
    for chunk in chunks:
        choices = [] if chunk is DONE else chunk["choices"]
        yield from (choice for choice in choices if choice["delta"].get("content"))


def test_text_that_arrives_together_stays_a_run() -> None:
    deltas = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}) * 3
    opened = frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
    reply = FakeReply([START + opened, deltas, delta("end_turn") + END], STREAM)
    runs = [batch[0] for batch in read_in_runs(UPSTREAM, reply, make_call(stream=True)) if len(batch) == 1]
    assert [run.text() for run in runs if isinstance(run, TextRun)] == ["xxx"]
