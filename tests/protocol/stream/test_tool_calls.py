from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, EventDecoder
from argoproxy.protocol.stream.tool_calls import ToolCallFilter, ToolCalls, complete_call_with_text
from tests.support.cuts import cut_at, cuts, places
from tests.support.growth import assert_linear
from tests.support.tool_call_fragments import HEAD, NEXT, fragment, odd_fragments

Json = dict[str, Any]


def repaired(*fragments: Json) -> list[Json]:
    """Repair fragments, one in each delta."""
    calls = ToolCalls()
    return [part for one in fragments for part in calls.repair([one])]


RIGHT = {
    "one call": [HEAD, NEXT, NEXT],
    "two calls, interleaved": [HEAD, fragment(1, id="b", type="function", name="g"), NEXT, fragment(1, arguments="1")],
    "whole calls": [fragment(0, id="a", name="f", arguments="{}"), fragment(1, id="b", name="f", arguments="{}")],
    "calls that share an id": [fragment(0, id="a", name="f"), fragment(1, id="a", name="g")],
    "a custom tool": [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "g", "input": ""}},
        {"index": 0, "custom": {"input": "x"}},
    ],
    "an id that comes late": [fragment(0, name="f"), fragment(0, id="a", arguments="{}")],
    "a name that comes late": [fragment(0, id="a", arguments="{}"), fragment(0, name="f")],
    "nothing said at first": [fragment(0, id="", type=None, name=""), fragment(0, id="a", type="function", name="f")],
    "unknown fields": [{**HEAD, "extra_content": {"google": {"thought_signature": "s"}}}],
    "nothing to call": [fragment(0, id="a", function=None), fragment(0)],
}


@pytest.mark.parametrize("fragments", RIGHT.values(), ids=RIGHT.keys())
def test_correct_fragments_stay_the_same_objects(fragments: list[Json]) -> None:
    calls = ToolCalls()
    for one in fragments:
        delta = [one]
        assert calls.repair(delta) is delta
    together = ToolCalls()
    assert together.repair(fragments) is fragments


ODD = {
    "no index, same id": (
        [fragment(id="a", name="f", arguments=""), fragment(id="a", arguments="{}")],
        [fragment(0, id="a", name="f", arguments=""), fragment(0, arguments="{}")],
    ),
    "no index, no id": (
        [fragment(id="a", name="f"), fragment(arguments="{}"), fragment(None, id="", arguments=" ")],
        [fragment(0, id="a", name="f"), fragment(0, arguments="{}"), fragment(0, arguments=" ")],
    ),
    "no index, a new id": (
        [fragment(id="a", name="f"), fragment(id="b", name="f"), fragment(id="c"), fragment(arguments="1")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="f"), fragment(2, id="c"), fragment(2, arguments="1")],
    ),
    "no index, an id from before": (
        [fragment(id="a", name="f"), fragment(id="b", name="g"), fragment(id="a", arguments="1"), fragment()],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(0, arguments="1"), fragment(0)],
    ),
    "an index later": (
        [
            fragment(id="a", name="f"),
            fragment(0, arguments="1"),
            fragment(1, id="b", name="g"),
            fragment(arguments="2"),
        ],
        [
            fragment(0, id="a", name="f"),
            fragment(0, arguments="1"),
            fragment(1, id="b", name="g"),
            fragment(1, arguments="2"),
        ],
    ),
    "no index, no id, whole calls": (
        [fragment(id="", name="f", arguments='{"a":1}'), fragment(id="", name="f", arguments="{}")],
        [fragment(0, id="", name="f", arguments='{"a":1}'), fragment(1, id="", name="f", arguments="{}")],
    ),
    "no id, whole calls, all of index 0": (
        [fragment(0, name="f", arguments={"a": 1}), fragment(0, name="g", arguments="{}")],
        [fragment(0, name="f", arguments='{"a":1}'), fragment(1, name="g", arguments="{}")],
    ),
    "no id, a name repeated": (
        [fragment(name="f", arguments='{"a'), fragment(name="f", arguments='":1}')],
        [fragment(0, name="f", arguments='{"a'), fragment(0, arguments='":1}')],
    ),
    "counted from 1": (
        [fragment(1, id="a", name="f"), fragment(1, arguments="{}"), fragment(2, id="b"), fragment(1, arguments=" ")],
        [fragment(0, id="a", name="f"), fragment(0, arguments="{}"), fragment(1, id="b"), fragment(0, arguments=" ")],
    ),
    "one index for two ids": (
        [fragment(0, id="a", name="f"), NEXT, fragment(0, id="b", name="f", arguments=""), NEXT],
        [
            fragment(0, id="a", name="f"),
            NEXT,
            fragment(1, id="b", name="f", arguments=""),
            fragment(1, arguments="{}"),
        ],
    ),
    "one index for two ids, one of which comes again": (
        [fragment(0, id="a", name="f"), fragment(0, id="b", name="g"), fragment(0, id="a", arguments="1")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(0, arguments="1")],
    ),
    "an index of its own after one for two": (
        [fragment(0, id="a", name="f"), fragment(0, id="b", name="g"), fragment(1, id="c", name="h")],
        [fragment(0, id="a", name="f"), fragment(1, id="b", name="g"), fragment(2, id="c", name="h")],
    ),
    "a new id with every fragment": (
        [
            fragment(0, id="a", name="f"),
            fragment(0, id="b", arguments="1"),
            fragment(0, id="c", name="", arguments="2"),
        ],
        [fragment(0, id="a", name="f"), fragment(0, arguments="1"), fragment(0, arguments="2")],
    ),
    "everything repeated": (
        [HEAD, {**HEAD, "function": {"name": "f", "arguments": "1"}}],
        [HEAD, fragment(0, arguments="1")],
    ),
    "null repeated": (
        [HEAD, fragment(0, id=None, type=None, name=None, arguments="1")],
        [HEAD, fragment(0, arguments="1")],
    ),
    "arguments as an object": (
        [fragment(0, id="a", name="f", arguments={"é": [1.0]}), fragment(1, id="b", arguments=[1])],
        [fragment(0, id="a", name="f", arguments='{"é":[1.0]}'), fragment(1, id="b", arguments="[1]")],
    ),
    "odd indexes": (
        [fragment("7", id="a"), fragment(True, id="b"), fragment(1.0, id="c"), fragment([], id="d"), fragment(-5)],
        [fragment(0, id="a"), fragment(1, id="b"), fragment(2, id="c"), fragment(3, id="d"), fragment(4)],
    ),
    "odd ids and names": (
        [fragment(id=5, name={}), fragment(id=5, name="f"), fragment(id={"a": 1}, name=7)],
        [fragment(0, id=5, name={}), fragment(0, name="f"), fragment(0, function={})],
    ),
    "arguments that are nearly whole": (
        [fragment(name="f", arguments="[1]"), fragment(name="f"), fragment(name="f", arguments='{"\ud800')],
        [fragment(0, name="f", arguments="[1]"), fragment(0, function={}), fragment(0, arguments='{"\ud800')],
    ),
}


@pytest.mark.parametrize(("fragments", "right"), ODD.values(), ids=ODD.keys())
def test_fragments_of_odd_servers_are_repaired(fragments: list[Json], right: list[Json]) -> None:
    kept = copy.deepcopy(fragments)
    assert repaired(*fragments) == right
    assert ToolCalls().repair(fragments) == right
    assert fragments == kept


@pytest.mark.parametrize("odd", [None, "odd", {"index": 3}, [], ["odd", None, 5]])
def test_what_is_no_fragment_is_left_alone(odd: Any) -> None:
    calls = ToolCalls()
    assert calls.repair(odd) is odd
    assert calls.repair([odd, HEAD] if isinstance(odd, str) else [HEAD])[-1] is HEAD


def test_plain_arguments_of_a_call_that_began_are_correct() -> None:
    calls = ToolCalls()
    assert not calls.continue_call(0)
    calls.repair([HEAD, fragment(7, id="b", name="g")])
    assert calls.continue_call(0)
    assert calls.repair([fragment(arguments="of the last one")])[0]["index"] == 0
    assert not calls.continue_call(7)
    assert calls.repair([fragment(arguments="of the last one")])[0]["index"] == 1


@given(st.lists(odd_fragments, max_size=12))
def test_what_was_repaired_is_right(fragments: list[Json]) -> None:
    once = repaired(*fragments)
    calls = ToolCalls()
    for one in once:
        assert calls.repair([one])[0] is one
    indexes = [one["index"] for one in once]
    assert list(dict.fromkeys(indexes)) == list(range(len(set(indexes))))
    for index in set(indexes):
        mine = [one for one in once if one["index"] == index]
        for key in ("id", "type"):
            assert sum(bool(one.get(key)) for one in mine) <= 1
            assert all(one[key] for one in mine[1:] if key in one)
        tools = [one["function"] for one in mine if isinstance(one.get("function"), dict)]
        assert sum(bool(tool.get("name")) for tool in tools) <= 1


def test_whole_calls_get_arguments_that_are_text() -> None:
    right: Json = {"index": 5, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert complete_call_with_text(right) is right
    assert complete_call_with_text({"function": None})["function"] is None
    odd: Json = {"index": 5, "id": "a", "custom": {"name": "f", "input": {"a": 1}}, "more": {}}
    assert complete_call_with_text(odd) == {**odd, "custom": {"name": "f", "input": '{"a":1}'}}


def test_arguments_too_deep_to_be_written_are_the_upstreams_fault() -> None:
    value: Any = 1
    for _ in range(5000):
        value = {"a": value}
    with pytest.raises(UpstreamProtocolError, match="cannot be encoded"):
        repaired(fragment(0, arguments=value))


def test_many_fragments_and_many_calls_take_linear_time() -> None:
    def work(size: int) -> None:
        calls = ToolCalls()
        for number in range(size):
            calls.repair([fragment(id=f"call_{number}", name="f", arguments="{}")])
            calls.repair([fragment(arguments=" ")])

    assert_linear(work, 1_000)


def delta(*fragments: Json, index: int = 0, **more: Any) -> Json:
    return {"index": index, "delta": {"tool_calls": [*fragments]}, "finish_reason": None, **more}


def chunk(*choices: Any, **top: Any) -> Json:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [*choices], **top}


def compact(chunk: Json) -> Event:
    return Event(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def spaced(chunk: Json) -> Event:
    return Event(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")


def run(pieces: Iterable[bytes]) -> Batch:
    decoder, repairs = EventDecoder(), ToolCallFilter()
    passed = [event for piece in pieces for event in repairs.feed(decoder.feed(piece))]
    return passed + repairs.feed(decoder.finish()) + repairs.finish()


def assemble(events: Iterable[Event]) -> Json:
    return assemble_completion(event.chunk for event in events if event.chunk)


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
            piece = fragment(call, arguments=draw(st.sampled_from(["", '{"', "\\", '"tool_calls"', "é"])))
        else:
            call, begun[choice] = begun[choice], begun[choice] + 1
            identity = draw(st.sampled_from(["a", "b", f"call_{choice}_{call}"]))
            piece = fragment(call, id=identity, type="function", name="f", arguments=draw(st.sampled_from(["", "{}"])))
        chunks.append(chunk(delta(piece, index=choice)))
    return chunks


@given(legal_streams(), places, st.sampled_from([compact, spaced]))
def test_a_legal_stream_passes_byte_for_byte(chunks: list[Json], at: list[int], make: Any) -> None:
    stream = b"".join(make(one).raw for one in chunks) + DONE.raw
    decoder, repairs = EventDecoder(), ToolCallFilter()
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
).map(lambda deltas: [chunk(*(delta(*fragments, index=index) for index, fragments in choices)) for choices in deltas])


@given(odd_streams, places, st.sampled_from([compact, spaced]))
def test_a_repaired_stream_is_the_same_in_any_cut(chunks: list[Json], at: list[int], make: Any) -> None:
    stream = b"".join(make(one).raw for one in chunks) + DONE.raw
    passed = run([stream])
    right = b"".join(event.raw for event in passed)
    assert b"".join(event.raw for event in run(cut_at(stream, at))) == right
    assert b"".join(event.raw for event in run([right])) == right
    assert assemble(passed) == assemble_completion(chunks)


def test_a_stream_is_repaired_in_every_cut() -> None:
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
