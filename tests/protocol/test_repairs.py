from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.stream.chunks import assemble
from argoproxy.protocol.stream.sse import DONE, Batch, Decoder, Document, Event
from argoproxy.protocol.stream.tool_call_filter import ToolCallFilter
from tests.support.cuts import cut_at, cuts, places
from tests.support.growth import assert_linear
from tests.support.tool_call_fragments import HEAD, NEXT, fragment, odd_fragments

Json = dict[str, Any]


def delta(*fragments: Json, index: int = 0, **more: Any) -> Json:
    return {"index": index, "delta": {"tool_calls": [*fragments]}, "finish_reason": None, **more}


def chunk(*choices: Any, **top: Any) -> Json:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [*choices], **top}


def compact(chunk: Json) -> Event:
    return Event(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def spaced(chunk: Json) -> Event:
    return Event(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")


def run(pieces: Iterable[bytes]) -> Batch:
    decoder, repairs = Decoder(), ToolCallFilter()
    passed = [event for piece in pieces for event in repairs.feed(decoder.feed(piece))]
    return passed + repairs.feed(decoder.finish()) + repairs.finish()


def told(events: Iterable[Event]) -> Json:
    return assemble(event.chunk for event in events if event.chunk)


FOREIGN = [
    chunk({"index": 0, "delta": {"role": "assistant", "content": 'a "tool_calls" b'}}),
    chunk({"index": 0, "delta": {"content": "tool_calls"}}),
    chunk({"index": 0, "delta": {"tool_calls": None}}),
    chunk({"index": 0, "delta": {"tool_calls": []}}),
    chunk({"index": 0, "delta": {"tool_calls": {"odd": 1}}}),
    chunk({"index": 0, "delta": "tool_calls"}),
    chunk({"index": 0, "finish_reason": "tool_calls"}),
    chunk({"index": 0, "delta": {}, "finish_reason": "tool_calls"}, "tool_calls"),
    {"choices": {"tool_calls": 1}},
    {"tool_calls": 1},
]
OTHERS = [DONE, Event(b': "tool_calls"\n\n'), Event(b'data: ["tool_calls"]\n\n')]


@pytest.mark.parametrize("event", [*map(compact, FOREIGN), *map(spaced, FOREIGN), *OTHERS])
def test_what_holds_no_fragment_passes_in_the_very_same_batch(event: Event) -> None:
    batch = [event]
    assert ToolCallFilter().feed(batch) is batch


def test_events_without_tool_calls_are_not_parsed() -> None:
    batch = [Event(b"data: {broken\n\n")]
    assert ToolCallFilter().feed(batch) is batch


@pytest.mark.parametrize("make", [compact, spaced])
def test_only_what_is_wrong_is_written_anew(make: Any) -> None:
    right = [make(chunk(delta(HEAD))), make(chunk(delta(NEXT)))]
    wrong = make(chunk(delta({**HEAD, "id": "b"}), "odd", moderation=1, usage={"n": 1}))
    repairs, batch = ToolCallFilter(), [*right, wrong, DONE]
    passed = repairs.feed(batch)
    assert batch[2] is wrong
    assert [passed[0], passed[1], passed[3]] == [batch[0], batch[1], DONE]
    assert passed[2].chunk == chunk(delta({**HEAD, "id": "b", "index": 1}), "odd", moderation=1, usage={"n": 1})
    assert repairs.finish() == []


@pytest.mark.parametrize("make", [compact, spaced])
def test_choices_are_kept_apart(make: Any) -> None:
    events = [
        make(chunk(delta(fragment(id="a", name="f")), delta(fragment(id="b", name="g"), index=1))),
        make(chunk(delta(fragment(arguments="1"), index=1))),
        make(chunk(delta(fragment(arguments="2")))),
        make(chunk(delta(fragment(1, id="c", name="h"), index=1))),
        make(chunk(delta(fragment(0, arguments="3"), index=1), delta(fragment(0, arguments="4")))),
    ]
    passed = run(event.raw for event in events)
    fragments = [
        (choice["index"], part["index"], (part["function"].get("name"), part["function"].get("arguments")))
        for event in passed
        for choice in (event.chunk or {})["choices"]
        for part in choice["delta"]["tool_calls"]
    ]
    assert fragments == [
        (0, 0, ("f", None)),
        (1, 0, ("g", None)),
        (1, 0, (None, "1")),
        (0, 0, (None, "2")),
        (1, 1, ("h", None)),
        (1, 0, (None, "3")),
        (0, 0, (None, "4")),
    ]


def test_a_whole_reply_gets_arguments_that_are_text_and_keeps_its_indexes() -> None:
    calls = [
        {"index": 3, "id": "a", "function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "a", "function": {"name": "g", "arguments": "{}"}},
        "odd",
    ]
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}
    raw = json.dumps({"choices": [choice, {"message": {"tool_calls": None}}]}).encode()
    (event,) = ToolCallFilter().feed([Document(raw)])
    assert isinstance(event, Document)
    assert json.loads(event.raw) == json.loads(raw.replace(b'{"a": 1}', rb'"{\"a\":1}"'))
    batch: Batch = [Document(event.raw)]
    assert ToolCallFilter().feed(batch) is batch


@st.composite
def legal_streams(draw: st.DrawFn) -> list[Json]:
    """Calls of up to three choices, begun in order, their arguments interleaved anyhow."""
    begun = [0, 0, 0]
    chunks = []
    for choice, call in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=15)):
        if call < begun[choice]:
            told = fragment(call, arguments=draw(st.sampled_from(["", '{"', "\\", '"tool_calls"', "é"])))
        else:
            call, begun[choice] = begun[choice], begun[choice] + 1
            identity = draw(st.sampled_from(["a", "b", f"call_{choice}_{call}"]))
            told = fragment(call, id=identity, type="function", name="f", arguments=draw(st.sampled_from(["", "{}"])))
        chunks.append(chunk(delta(told, index=choice)))
    return chunks


@given(legal_streams(), places, st.sampled_from([compact, spaced]))
def test_a_legal_stream_passes_byte_for_byte(chunks: list[Json], at: list[int], make: Any) -> None:
    stream = b"".join(make(one).raw for one in chunks) + DONE.raw
    decoder, repairs = Decoder(), ToolCallFilter()
    for piece in cut_at(stream, at):
        batch = decoder.feed(piece)
        assert repairs.feed(batch) is batch


odd_streams = st.lists(
    st.lists(
        st.tuples(st.integers(0, 1), st.lists(odd_fragments, max_size=3)),
        min_size=1,
        max_size=2,
        unique_by=lambda c: c[0],
    ),
    max_size=6,
).map(lambda told: [chunk(*(delta(*fragments, index=index) for index, fragments in choices)) for choices in told])


@given(odd_streams, places, st.sampled_from([compact, spaced]))
def test_a_stream_put_right_tells_the_same_in_any_cut(chunks: list[Json], at: list[int], make: Any) -> None:
    stream = b"".join(make(one).raw for one in chunks) + DONE.raw
    passed = run([stream])
    right = b"".join(event.raw for event in passed)
    assert b"".join(event.raw for event in run(cut_at(stream, at))) == right
    assert b"".join(event.raw for event in run([right])) == right
    assert told(passed) == assemble(chunks)


def test_a_stream_put_right_in_every_cut() -> None:
    chunks = [
        chunk(delta(fragment(id="a", name="f", arguments=""))),
        chunk(delta(fragment(arguments={"é": 1}))),
        chunk(delta(fragment(id="b", name="g", arguments='{"tool_calls":1}'))),
    ]
    stream = b"".join(compact(one).raw for one in chunks) + DONE.raw
    right = b"".join(event.raw for event in run([stream]))
    for pieces in cuts(stream):
        assert b"".join(event.raw for event in run(pieces)) == right


def test_a_long_stream_of_arguments_takes_linear_time() -> None:
    def work(size: int) -> None:
        repairs = ToolCallFilter()
        for make in (compact, spaced):
            repairs.feed([make(chunk(delta(HEAD)))])
            one = make(chunk(delta(NEXT)))
            for _ in range(size):
                repairs.feed([Event(one.raw)])

    assert_linear(work, 2_000)
