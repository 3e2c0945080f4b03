from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.api.endpoints import assemble_reply
from argoproxy.protocol.json_text import loads
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.sse import is_done
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream, DashScopeUrls
from tests.support.cuts import cuts
from tests.support.dashscope_calls import COMPLETIONS, call, frame, said
from tests.support.doubles import FakeReply

Json = dict[str, Any]
UPSTREAM = DashScopeUpstream(DashScopeUrls.parse("http://up"))
TOP = {"id": "chatcmpl-r1", "object": "chat.completion.chunk", "created": 7, "model": "qwen-plus"}
USAGE: Any = {"stream_options": {"include_usage": True}}


def streamed(path: str = "/v1/chat/completions", **body: Any) -> Call:
    return call(path, stream=True, **body)


def chunks(asked: Call, *pieces: bytes) -> list[Json]:
    """Read a stream that ends well."""
    events = [event for batch in UPSTREAM.read_completion(FakeReply(list(pieces)), asked) for event in batch]
    assert is_done(events[-1])
    return [event.chunk or {} for event in events[:-1]]


def choices(asked: Call, *frames: Json) -> list[Json]:
    return [choice for chunk in chunks(asked, *map(frame, frames)) for choice in chunk["choices"]]


def part(delta: Json, ending: str | None = None, index: int = 0, logprobs: Json | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": ending}


def raised(asked: Call, *pieces: bytes) -> tuple[list[Json], ProxyError]:
    """Read a stream that ends badly: what came before, and how."""
    before: list[Json] = []
    try:
        for batch in UPSTREAM.read_completion(FakeReply(list(pieces)), asked):
            before += [event.chunk or {} for event in batch]
    except ProxyError as error:
        return before, error
    raise AssertionError("it ended well")


PLAIN = [said("He"), said("llo"), {**said("", "stop"), "usage": {"input_tokens": 12, "output_tokens": 3}}]


def test_an_incremental_stream() -> None:
    found = chunks(streamed(), *map(frame, PLAIN))
    assert found == [
        {**TOP, "choices": [part({"role": "assistant", "content": "He", "refusal": None})]},
        {**TOP, "choices": [part({"content": "llo"})]},
        {**TOP, "choices": [part({}, "stop")]},
    ]


def test_a_stream_in_any_cut() -> None:
    raw = b"".join(map(frame, PLAIN))
    expected = chunks(streamed(**USAGE), raw)
    for pieces in cuts(raw):
        assert chunks(streamed(**USAGE), *pieces) == expected
    for pieces in cuts(raw.removesuffix(b"\n\n").replace(b"\n", b"\r\n")):
        assert chunks(streamed(**USAGE), *pieces) == expected


def test_the_last_usage_is_told_where_it_was_asked_for() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    assert chunks(streamed(**USAGE), *map(frame, PLAIN))[-1] == {**TOP, "choices": [], "usage": usage}
    assert chunks(streamed(**USAGE), *map(frame, [said("a"), said("", "stop")]))[-1]["choices"]


def test_silence_is_passed_on() -> None:
    asked = FakeReply([b"", frame(PLAIN[0]), b"", b": beat\n\n", *map(frame, PLAIN[1:])])
    assert [len(batch) for batch in UPSTREAM.read_completion(asked, streamed())] == [0, 1, 0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    "body", [{"incremental_output": False}, {}, {"stream": False}, {"stream": False, "incremental_output": False}]
)
def test_cumulative_texts_are_understood_whatever_was_asked(body: Json) -> None:
    frames = [said("He"), said("Hello"), said("Hello!"), said("Hello!", "stop")]
    found = choices(call(**{"stream": True, **body}), *frames)
    assert (
        assemble_completion([{"choices": [choice]} for choice in found])["choices"][0]["message"]["content"] == "Hello!"
    )
    assert found[-1] == part({}, "stop")


def test_cumulative_texts_that_were_asked_for_come_as_they_grow() -> None:
    found = choices(streamed(incremental_output=False), said("He"), said("Hello"), said("Hello!", "stop"))
    assert [choice["delta"].get("content") for choice in found] == ["He", "llo", "!", None]


@pytest.mark.parametrize("ending", ["", "!"])
def test_a_text_that_repeats_itself_keeps_all_of_it(ending: str) -> None:
    found = choices(streamed(), said("1"), said("10"), said("100"), said(ending, "stop"))
    assert "".join(choice["delta"].get("content", "") for choice in found) == "110100" + ending


REWRITTEN = [said("He"), said("Hello"), said("Oh, hello", "stop")]


def test_a_text_that_was_rewritten_ends_a_stream() -> None:
    before, error = raised(streamed(incremental_output=False), *map(frame, REWRITTEN))
    assert [chunk["choices"][0]["delta"]["content"] for chunk in before] == ["He", "llo"]
    assert error.code == "upstream_text_rewritten"


def test_a_client_that_gets_a_document_gets_the_last_text() -> None:
    asked = call(incremental_output=False).with_body({**streamed(incremental_output=False).body})
    assert (asked.stream, asked.wants_document) == (True, True)
    document = assemble_reply(UPSTREAM.read_completion(FakeReply(list(map(frame, REWRITTEN))), asked))
    assert document.chunk["choices"][0]["message"]["content"] == "Oh, hello"


def test_thoughts_come_first() -> None:
    found = choices(
        streamed(),
        said("", reasoning_content="h"),
        said("", reasoning_content="m"),
        said("Hi", reasoning_content=""),
        said("", "stop", reasoning_content=""),
    )
    assert found == [
        part({"role": "assistant", "content": "", "refusal": None, "reasoning_content": "h"}),
        part({"reasoning_content": "m"}),
        part({"content": "Hi"}),
        part({}, "stop"),
    ]


def fragment(arguments: Any, index: int = 0, **head: Any) -> Json:
    name = {"name": head.pop("name")} if "name" in head else {}
    return {"index": index, "id": "", "type": "function", **head, "function": {**name, "arguments": arguments}}


def test_calls_of_tools_in_pieces() -> None:
    found = choices(
        streamed(),
        said("", tool_calls=[fragment('{"a', name="f", id="call_1", extra=1)]),
        said("", tool_calls=[fragment('": 1}', name="")]),
        said("", tool_calls=[fragment("{}", 1, name="g", id="call_2"), 3]),
        said("", "tool_calls", tool_calls=[fragment("", 1)]),
    )
    first = {"index": 0, "id": "call_1", "type": "function", "extra": 1, "function": {"name": "f", "arguments": '{"a'}}
    second = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    assert found == [
        part({"role": "assistant", "content": None, "refusal": None, "tool_calls": [first]}),
        part({"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]}),
        part({"tool_calls": [second]}),
        part({}, "tool_calls"),
    ]


@pytest.mark.parametrize("body", [{"incremental_output": False}, {}])
def test_calls_of_tools_told_whole_each_time(body: Json) -> None:
    parts = list(accumulate(['{"a', '": 1}', ""]))
    frames = [said("", tool_calls=[fragment(arguments, name="f", id="call_1")]) for arguments in parts]
    frames[-1]["output"]["choices"][0]["finish_reason"] = "tool_calls"
    found = choices(streamed(**body), *frames)
    message = assemble_completion([{"choices": [choice]} for choice in found])["choices"][0]["message"]
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert message["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]


def test_a_call_that_lacks_something() -> None:
    found = choices(
        streamed(),
        said("", tool_calls=[{"function": None}]),
        said("", tool_calls=[{"function": {"name": "f", "arguments": {"a": 1}}}]),
        said("", "tool_calls", tool_calls="x"),
    )
    head = {"index": 0, "id": "call_id1_0", "type": "function", "function": {"name": "", "arguments": ""}}
    assert [choice["delta"].get("tool_calls") for choice in found] == [
        [head],
        [{"index": 0, "function": {"name": "f", "arguments": '{"a":1}'}}],
        None,
    ]


def test_several_choices_each_in_its_own_events() -> None:
    def counted(told: Json, tokens: int) -> Json:
        return {**told, "usage": {"input_tokens": 5, "output_tokens": tokens}}

    asked = streamed(n=2, **USAGE)
    frames = [
        counted(said("a", index=0), 1),
        counted(said("x", index=1), 1),
        counted(said("b", "stop", index=0), 2),
        counted(said("", "length", index=1), 3),
    ]
    found = chunks(asked, *map(frame, frames))
    assert [choice for chunk in found for choice in chunk["choices"]] == [
        part({"role": "assistant", "content": "a", "refusal": None}),
        part({"role": "assistant", "content": "x", "refusal": None}, index=1),
        part({"content": "b"}),
        part({}, "stop"),
        part({}, "length", 1),
    ]
    assert found[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_choices_that_share_an_event_share_its_tokens() -> None:
    told = said("a", "stop")
    told["output"]["choices"] += said("b", "stop")["output"]["choices"]
    told["usage"] = {"input_tokens": 5, "output_tokens": 4}
    found = chunks(streamed(**USAGE), frame(told))
    assert [choice["index"] for chunk in found for choice in chunk["choices"]] == [0, 0, 1, 1]
    assert found[-1]["usage"]["total_tokens"] == 9


def test_log_probabilities_are_of_the_text_they_come_with() -> None:
    def probable(told: Json, *tokens: str) -> Json:
        told["output"]["choices"][0]["logprobs"] = {"content": [{"token": token} for token in tokens]}
        return told

    found = choices(streamed(), probable(said("a"), "a"), probable(said("b"), "b"), probable(said("", "stop")))
    of = [{"content": [{"token": token}], "refusal": None} for token in "ab"]
    assert [choice["logprobs"] for choice in found] == [*of, None]
    found = choices(
        streamed(incremental_output=False), probable(said("a"), "a"), probable(said("ab", "stop"), "a", "b")
    )
    assert [choice["logprobs"] for choice in found] == [*of, None]


def test_log_probabilities_without_text_go_out_too() -> None:
    told = said("", "stop")
    told["output"]["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    found = choices(streamed(), said("a"), told)
    assert found[1] == part({}, logprobs={"content": [{"token": "a"}], "refusal": None})


def test_the_text_format_and_lists_of_parts() -> None:
    output = {"text": "a", "finish_reason": "null"}
    told = {"output": output, "request_id": "r1"}
    last = {"output": {"text": "", "finish_reason": "stop"}, "request_id": "r1"}
    assert choices(streamed(), told, last) == [
        part({"role": "assistant", "content": "a", "refusal": None}),
        part({}, "stop"),
    ]
    found = choices(streamed(), said([{"text": "a"}]), said([{"image": "u"}]), said([], "stop"))
    assert [choice["delta"] for choice in found] == [
        {"role": "assistant", "content": "a", "refusal": None},
        {"parts": [{"image": "u"}]},
        {},
    ]


def test_what_else_is_told_is_told_once() -> None:
    search = {"search_results": [1]}
    frames = [said("a", phase="x"), said("b", phase="x"), said("", "stop", phase="y")]
    for told in frames[:2]:
        told["output"]["search_info"] = search
    found = chunks(streamed(), *map(frame, frames))
    assert [chunk.get("search_info") for chunk in found] == [search, None, None, None]
    assert [chunk["choices"][0]["delta"].get("phase") for chunk in found] == ["x", None, "y", None]


def test_a_legacy_stream() -> None:
    found = chunks(streamed(COMPLETIONS), *map(frame, [said(""), *PLAIN]))
    top = {**TOP, "id": "cmpl-r1", "object": "text_completion"}
    ends = {"logprobs": None, "finish_reason": None}
    assert found == [
        {**top, "choices": [{"index": 0, "text": "He", **ends}]},
        {**top, "choices": [{"index": 0, "text": "llo", **ends}]},
        {**top, "choices": [{"index": 0, "text": "", **ends, "finish_reason": "stop"}]},
    ]


def test_what_follows_the_end_of_a_choice_is_not_told() -> None:
    assert choices(streamed(), said("a", "stop"), said("a", "stop"))[1:] == [part({}, "stop")]


@pytest.mark.parametrize("frames", [[said("He"), said("llo")], [], [said("a", "stop", index=0), said("b", index=1)]])
def test_a_stream_that_broke_off(frames: list[Json]) -> None:
    for pieces in cuts(b": hi\n\n" + b"".join(map(frame, frames))):
        _, error = raised(streamed(), *pieces)
        assert isinstance(error, UpstreamProtocolError)
        assert error.code == "upstream_stream_cut_short"


FAILED = frame({"code": "Throttling.RateQuota", "message": "Slow down.", "request_id": "r1"}, "error", 429)


def test_an_error_on_the_way_comes_after_what_was_said() -> None:
    for pieces in cuts(frame(said("He")) + FAILED):
        before, error = raised(streamed(), *pieces)
        assert [chunk["choices"][0]["delta"]["content"] for chunk in before] == ["He"]
        assert isinstance(error, UpstreamStatus)
        assert (error.status, loads(error.body)["error"]["code"]) == (429, "rate_limit_exceeded")


def test_an_error_before_anything_was_said_has_nothing_before_it() -> None:
    assert list(map(len, raised(streamed(), FAILED)[:1])) == [0]


def test_events_in_place_of_a_document_and_the_other_way_round() -> None:
    (batch,) = UPSTREAM.read_completion(
        FakeReply([b" " + b'{"output":{"text":"Hi","finish_reason":"stop"}}']), streamed()
    )
    assert batch[0].chunk["choices"][0]["message"]["content"] == "Hi"  # type: ignore[index]
    document = assemble_reply(UPSTREAM.read_completion(FakeReply(list(map(frame, PLAIN))), call()))
    assert document.chunk["choices"][0]["message"]["content"] == "Hello"
