"""Chunks to messages, streamed and whole; the failures of other converters by their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.messages.answers.events import MOST_CHANGES, MessageHead
from argoproxy.protocol.messages.answers.message_writer import MessageWriter, build_message
from argoproxy.protocol.messages.answers.signatures import MARK
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.runs import RunDecoder, TextRun
from argoproxy.protocol.stream.sse import DOCUMENT_LIMIT, DONE, Batch, Document, Event
from tests.support.cuts import cuts
from tests.support.growth import assert_linear
from tests.support.messages_grammar import (
    HEAD,
    call_of,
    check_grammar,
    chunk_of,
    events_of,
    joined,
    message_of,
    read_frames,
    usage_of,
)

Json = dict[str, Any]
STOP = chunk_of({}, "stop")
TOOLS = chunk_of({}, "tool_calls")


def thought(text: str, **more: Any) -> Json:
    return chunk_of({"reasoning_content": text, **more})


def text(content: str) -> Json:
    return chunk_of({"content": content})


def call(*fragment: Any) -> Json:
    return chunk_of(call_of(*fragment))


def kinds(message: Json) -> list[str]:
    return [block["type"] for block in message["content"]]


def calls(message: Json) -> list[tuple[str, str, Json]]:
    return [(block["id"], block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


def test_m01_blocks_are_opened_before_their_deltas() -> None:
    message = message_of([chunk_of({"role": "assistant", "content": ""}), text("Hel"), text("lo"), STOP])
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert (message["id"], message["model"], message["stop_reason"]) == ("msg_r1", "m", "end_turn")


def test_m02_a_chunk_with_thought_and_text() -> None:
    message = message_of([thought("a"), thought("b", content="X"), text("Y"), STOP])
    assert [block.get("thinking") or block.get("text") for block in message["content"]] == ["ab", "XY"]


def test_m03_one_start_and_thoughts_are_signed() -> None:
    message = message_of([thought("deep"), text("x"), STOP])
    assert message["content"][0] == {"type": "thinking", "thinking": "deep", "signature": MARK}


def test_a_thought_alone_is_an_answer() -> None:
    assert kinds(message_of([thought("deep"), STOP])) == ["thinking"]


def test_m04_name_and_arguments_at_once() -> None:
    message = message_of([call(0, '{"path": "/a"}', "read", "c0"), TOOLS])
    assert calls(message) == [("c0", "read", {"path": "/a"})]
    assert message["stop_reason"] == "tool_use"


def test_m05_whole_calls_without_index() -> None:
    fragments = [{"id": "", "function": {"name": "f", "arguments": {"a": 1}}, "extra_content": {"google": {}}}]
    message = message_of([chunk_of({"tool_calls": fragments}), STOP])
    assert calls(message) == [("toolu_r1_0", "f", {"a": 1})]


def test_m07_text_is_closed_before_a_tool_and_names_come_in_pieces() -> None:
    message = message_of([thought("t"), text("x"), call(0, "", "rea", "c0"), call(0, "{}"), TOOLS])
    assert kinds(message) == ["thinking", "text", "tool_use"]


def test_m08_a_few_characters_before_the_thought() -> None:
    message = message_of([text("---"), thought("hm"), text("Hi"), STOP])
    assert kinds(message) == ["text", "thinking", "text"]


def test_m09_alternating_thoughts_and_text() -> None:
    chunks = [one for number in range(40) for one in (thought(f"t{number} "), text(f"x{number} "))]
    message = message_of([*chunks, STOP])
    assert len(message["content"]) <= 2 * MOST_CHANGES + 3
    assert "".join(block.get("text", "") for block in message["content"]) == "".join(f"x{n} " for n in range(40))
    assert "".join(block.get("thinking", "") for block in message["content"]) == "".join(f"t{n} " for n in range(40))


def test_thoughts_that_waited_come_before_a_call() -> None:
    chunks = [one for _ in range(MOST_CHANGES + 2) for one in (thought("t"), text("x"))]
    message = message_of([*chunks, call(0, "{}", "f", "c"), TOOLS])
    assert kinds(message)[-1] == "tool_use"
    assert sum(len(block.get("thinking", "")) for block in message["content"]) == MOST_CHANGES + 2


def test_blank_text_opens_no_block() -> None:
    message = message_of([text("\n"), thought("a"), text("\n\n"), thought("b"), text("\n"), text("X"), STOP])
    assert [block.get("thinking") or block.get("text") for block in message["content"]] == ["ab", "\n\n\n\nX"]


def test_a_blank_thought_does_not_cut_text() -> None:
    assert message_of([text("a"), thought("\n"), text("b"), STOP])["content"] == [{"type": "text", "text": "ab"}]


def test_m12_a_call_is_what_the_turn_ends_with() -> None:
    for reason in ("tool_calls", "stop", "function_call", "odd"):
        assert message_of([text("x"), call(0, "{}", "f", "c"), chunk_of({}, reason)])["stop_reason"] == "tool_use"
    cut = message_of([call(0, '{"path":"/a', "f", "c"), chunk_of({}, "length")])
    assert (cut["stop_reason"], cut["content"][0]["input"]) == ("max_tokens", {})
    assert message_of([text("x"), TOOLS])["stop_reason"] == "end_turn"


ARGUMENTS = ['{"a": 1}', "{}", '{"b": [2, {"c": "}"}]}']


@pytest.mark.parametrize("order", sorted(set(permutations([0, 0, 0, 1, 1, 1]))))
def test_m13_to_m17_interleaved_calls(order: tuple[int, ...]) -> None:
    for first, second in permutations(ARGUMENTS, 2):
        chunks, seen = list[Json](), [0, 0]
        for index in order:
            arguments = (first, second)[index]
            half = len(arguments) // 2
            fragment = [(index, "", f"f{index}", f"c{index}"), (index, arguments[:half]), (index, arguments[half:])]
            chunks.append(call(*fragment[seen[index]]))
            seen[index] += 1
        message = message_of([*chunks, TOOLS])
        wanted = {("c0", "f0", first), ("c1", "f1", second)}
        assert {(one[0], one[1], json.dumps(one[2])) for one in calls(message)} == {
            (call_id, name, json.dumps(json.loads(arguments))) for call_id, name, arguments in wanted
        }


def test_m13_the_first_call_streams_while_the_second_waits() -> None:
    live = events_of([call(0, "", "f", "c0"), call(0, '{"a":'), call(1, "{}", "g", "c1")])
    assert [event["type"] for event in live] == ["message_start", "content_block_start", "content_block_delta"]
    assert live[-1]["delta"]["partial_json"] == '{"a":'


def test_a_complete_call_ends_when_the_next_begins() -> None:
    live = events_of([call(0, '{"a":1}', "f", "c0"), call(1, "", "g", "c1"), call(1, '{"b":')])
    assert live[-1]["index"] == 1
    assert live[-1]["delta"]["partial_json"] == '{"b":'


def test_m16_a_fragment_for_a_finished_call_is_an_error() -> None:
    chunks = [call(0, '{"a":1}', "f", "c0"), call(1, '{"b":', "g", "c1")]
    assert events_of([*chunks, call(0, " ")])
    with pytest.raises(UpstreamProtocolError, match="continued"):
        events_of([*chunks, call(0, "x")])


def test_empty_arguments_that_are_sent_first() -> None:
    message = message_of([call(0, "{}", "f", "c0"), call(0, '{"a":'), call(0, "1}"), TOOLS])
    assert calls(message) == [("c0", "f", {"a": 1})]


def test_two_calls_with_one_id_get_their_own() -> None:
    message = message_of([call(0, '{"a":1}', "f", "c"), call(1, '{"b":1}', "f", "c"), TOOLS])
    assert calls(message) == [("c", "f", {"a": 1}), ("toolu_r1_1", "f", {"b": 1})]


def test_arguments_that_no_client_could_read_are_left_out() -> None:
    batch: Batch = [Event.of(call(0, '{"a":NaN}', "f", "c")), DONE]
    assert build_message([batch], HEAD)["content"][0]["input"] == {}


PIECES = 800


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(lambda size: [call(1, "{}," * 40) for _ in range(size)], id="a call that waits"),
        pytest.param(lambda size: [call(0, ",{}") for _ in range(size)], id="arguments that seem to end"),
        pytest.param(lambda size: [call(index, "{}", f"f{index}", "") for index in range(2, size)], id="many calls"),
        pytest.param(lambda size: [text("late" * 40) for _ in range(size)], id="text that waits"),
        pytest.param(lambda size: [thought("late" * 40) for _ in range(size)], id="a thought that waits"),
    ],
)
def test_what_waits_for_a_call_takes_linear_time(pieces: Callable[[int], list[Json]]) -> None:
    begin = [call(0, '{"a":[' + "{}" + ",{}" * 2000, "f", "c0"), call(1, "[", "g", "c1")]
    assert_linear(lambda size: events_of([*begin, *pieces(size)]), PIECES)


def test_a_call_without_arguments() -> None:
    assert calls(message_of([call(0, "", "f", "c0"), TOOLS])) == [("c0", "f", {})]
    assert calls(message_of([call(0, "{}", "f", "c0"), TOOLS])) == [("c0", "f", {})]


def test_a_call_without_a_name_can_not_be_run() -> None:
    message = message_of([text("x"), call(0, "{}"), STOP])
    assert (kinds(message), message["stop_reason"]) == (["text"], "end_turn")


def test_text_after_calls() -> None:
    assert kinds(message_of([call(0, '{"a":1}', "f", "c0"), text("\n"), text("x"), TOOLS])) == ["tool_use", "text"]
    message = message_of([call(0, '{"a":', "f", "c0"), text("x"), thought("t"), call(0, "1}"), text("y"), TOOLS])
    assert kinds(message) == ["tool_use", "text", "thinking"]
    assert (calls(message), message["content"][1]["text"]) == ([("c0", "f", {"a": 1})], "xy")
    unfinished = message_of([call(0, '{"a":', "f", "c0"), text("x"), chunk_of({}, "length")])
    assert kinds(unfinished) == ["tool_use", "text"]


def test_a_thought_between_calls() -> None:
    message = message_of([call(0, '{"a":1}', "f", "c0"), thought("t"), call(1, '{"b":2}', "g", "c1"), TOOLS])
    assert kinds(message) == ["tool_use", "thinking", "tool_use"]


def test_the_older_form_of_a_call() -> None:
    fragments = [{"name": "f", "arguments": ""}, {"arguments": '{"a":1}'}]
    message = message_of([*(chunk_of({"function_call": one}) for one in fragments), chunk_of({}, "function_call")])
    assert calls(message) == [("toolu_r1_0", "f", {"a": 1})]


def test_m31_and_m32_usage_is_there_at_both_ends() -> None:
    message = message_of([text("12345678"), STOP])
    assert message["usage"] == {"input_tokens": 7, "output_tokens": 2}
    counted = message_of([text("x"), STOP, usage_of(prompt_tokens=20, completion_tokens=3)])
    assert (counted["usage"]["input_tokens"], counted["usage"]["output_tokens"]) == (20, 3)


def test_m34_cached_tokens_count_once_and_never_below_zero() -> None:
    details = {"cached_tokens": 8, "cache_write_tokens": 4}
    usage = usage_of(prompt_tokens=20, completion_tokens=3, prompt_tokens_details=details)
    counts = message_of([text("x"), STOP, usage])["usage"]
    assert counts["input_tokens"] == 8
    assert (counts["cache_read_input_tokens"], counts["cache_creation_input_tokens"]) == (8, 4)
    less = usage_of(prompt_tokens=5, completion_tokens=True, prompt_tokens_details=details)
    assert message_of([text("x"), STOP, less])["usage"]["input_tokens"] == 0


def test_tokens_of_thoughts_are_told() -> None:
    usage = usage_of(prompt_tokens=1, completion_tokens=9, completion_tokens_details={"reasoning_tokens": 5})
    assert message_of([text("x"), STOP, usage])["usage"]["output_tokens_details"] == {"thinking_tokens": 5}


def test_m35_what_the_upstream_signed_is_kept_within_a_signature() -> None:
    detail = {"type": "reasoning.text", "text": "hm", "signature": "s1", "format": "anthropic-claude-v1", "index": 0}
    message = message_of([thought("hm", reasoning_details=[detail]), text("x"), STOP])
    assert message["content"][0]["signature"].startswith(MARK)
    assert len(message["content"][0]["signature"]) > len(MARK)


def test_details_without_a_thought_are_a_block_of_their_own() -> None:
    detail = {"type": "reasoning.encrypted", "data": "e", "index": 0}
    assert kinds(message_of([chunk_of({"reasoning_details": [detail]}), text("x"), STOP])) == [
        "redacted_thinking",
        "text",
    ]
    assert kinds(message_of([text("x"), chunk_of({"reasoning_details": [detail]}), STOP])) == [
        "text",
        "redacted_thinking",
    ]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (chunk_of({}, "stop"), "end_turn"),
        (chunk_of({}, "length"), "max_tokens"),
        (chunk_of({}, "content_filter"), "refusal"),
        (chunk_of({"refusal": "No."}, "stop"), "refusal"),
        (chunk_of({}, "stop", stop_reason="END"), "stop_sequence"),
        (chunk_of({}, "stop", stop_reason=128001), "end_turn"),
    ],
)
def test_why_it_ended(last: Json, reason: str) -> None:
    message = message_of([text("x"), last])
    assert message["stop_reason"] == reason
    assert message["stop_sequence"] == ("END" if reason == "stop_sequence" else None)
    assert ("stop_details" in message) == (reason == "refusal")


def test_an_empty_answer_has_no_block() -> None:
    message = message_of([STOP])
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


def test_only_the_first_choice_counts() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]}
    assert message_of([other, STOP])["content"][0]["text"] == "yes"


def test_names_that_were_shortened_come_back() -> None:
    head = MessageHead("r1", "m", 1, {"short": "long"})
    assert calls(message_of([call(0, "{}", "short", "c"), TOOLS], head)) == [("c", "long", {})]


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "x"}]
    assert kinds(message_of([chunk_of({"content": parts}), STOP])) == ["thinking", "text"]


def test_a_whole_completion_gives_the_same_message() -> None:
    message = {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }
    document = {
        "id": "u",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    whole = build_message([[Document.of(document)]], HEAD)
    assert whole == message_of(list(split_completion(document)))
    writer = MessageWriter(HEAD)
    events = read_frames(writer.feed([Document.of(document)]) + writer.finish())
    check_grammar(events)
    assert joined(events) == whole


def test_a_reply_without_a_completion_is_an_error() -> None:
    with pytest.raises(UpstreamProtocolError, match="no completion"):
        build_message([[Event(b": hi\n\n")], []], HEAD)


RUN = b"".join(
    b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % piece
    for piece in (b"Hel", b"lo", b' \\"\\u00e9\\n', b"", "ü".encode())
)


def test_runs_of_text_in_every_cut() -> None:
    wanted = build_message([[*RunDecoder().feed(RUN), Event.of(STOP), DONE]], HEAD)
    assert wanted["content"][0]["text"] == 'Hello "é\nü'
    for pieces in cuts(RUN):
        decoder, writer = RunDecoder(), MessageWriter(HEAD)
        stream = b"".join(writer.feed(decoder.feed(piece)) for piece in pieces)
        events = read_frames(stream + writer.feed([Event.of(STOP), DONE]) + writer.finish())
        check_grammar(events)
        assert joined(events) == wanted


@pytest.mark.parametrize("opening", [call(0, '{"a":', "f", "c"), text(" ")])
def test_a_long_run_of_text_that_waits(opening: Json) -> None:
    blank = b'data: {"choices":[{"index":0,"delta":{"content":" "},"finish_reason":null}]}\n\n'
    run = TextRun(blank * 2000 + RUN)
    shown = []
    for batch in ([run], run.cut()):
        writer = MessageWriter(HEAD)
        stream = writer.feed([Event.of(opening), *batch]) + writer.feed([Event.of(STOP), DONE]) + writer.finish()
        events = read_frames(stream)
        check_grammar(events)
        shown.append(joined(events))
    assert shown[0] == shown[1]
    assert shown[0]["content"][-1]["text"].strip() == 'Hello "é\nü'


@pytest.mark.parametrize(
    "delta",
    [
        call_of(1, "x" * 9, "g", "c1"),
        call_of(0, "{", "f", "c0"),
        {"content": "text that waits"},
        {"reasoning_content": "a thought that waits"},
    ],
)
def test_what_waits_for_a_call_is_bounded(delta: Json) -> None:
    chunk = Event.of({**chunk_of(delta), "padding": "x" * (DOCUMENT_LIMIT // 40)})
    writer = MessageWriter(HEAD)
    writer.feed([Event.of(call(0, '{"a":', "f", "c"))])
    with pytest.raises(UpstreamProtocolError, match="larger than"):
        writer.feed([chunk] * 41)


def test_text_that_is_sent_at_once_is_not_bounded() -> None:
    chunk = Event.of({**chunk_of({"content": "Hello"}), "padding": "x" * (DOCUMENT_LIMIT // 40)})
    writer = MessageWriter(HEAD)
    assert all(writer.feed([chunk]) for _ in range(41))


SOME = st.sampled_from(["", " ", "\n", "a", "bc", "{}", '{"a":1}', '{"a"', ":1}"])
DELTA = st.one_of(
    st.builds(lambda value: {"content": value}, SOME),
    st.builds(lambda value: {"reasoning_content": value}, SOME),
    st.builds(lambda value, other: {"reasoning": value, "content": other}, SOME, SOME),
    st.builds(call_of, st.integers(0, 2), SOME, st.sampled_from(["", "f"]), st.sampled_from(["", "c"])),
    st.builds(lambda value: {"reasoning_details": [{"type": "reasoning.encrypted", "data": value}]}, SOME),
)


@given(st.lists(DELTA, max_size=12), st.sampled_from(["stop", "tool_calls", "length", None]))
def test_any_chunks_make_a_stream_that_sdks_can_read(deltas: list[Json], reason: str | None) -> None:
    chunks = [chunk_of(delta) for delta in deltas] + [chunk_of({}, reason)]
    try:
        message = message_of(chunks)
    except UpstreamProtocolError:
        return
    texts = "".join(delta.get("content", "") for delta in deltas)
    shown = "".join(block.get("text", "") for block in message["content"])
    assert "".join(shown.split()) == "".join(texts.split())
