"""Events in runs give what the same events give one by one, in every cut, through every filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import ClientGone, UpstreamProtocolError
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.stream.assembly import CompletionAssembler
from argoproxy.protocol.stream.chunk_fields import ModelNameFilter, UsageMeter, UsageRemover
from argoproxy.protocol.stream.filters import Filter, apply_filters
from argoproxy.protocol.stream.runs import JOINED, RunDecoder, TextRun, cut_runs, join_runs
from argoproxy.protocol.stream.sse import Batch, Event, EventDecoder, is_plain
from argoproxy.protocol.stream.tool_calls import ToolCallFilter
from tests.support.cuts import cut_at, cuts, places
from tests.support.growth import assert_linear

HEADS = [
    b'"id":"x","object":"chat.completion.chunk","created":1,"model":"m",',
    b'"id":"x","created":1,"model":"m","service_tier":"t","system_fingerprint":null,',
    b'"model":"a < b","id":"usage","provider":"p",',
    b'"model":"tool_calls","provider":null,',
    b"",
]
TEXTS = ["Hi", " there", "", "\\n", '\\"', "\\u00e9", "\\ud83d", "\\ude00", "é🤔", " < ", "<th", "<think>", "ink>"]
TEXTS += ["</think>", "</th", "\\u003cthink>", "\\u003C/think>", "usage", "reasoning", "[DONE]", "|", "a|b"]
BROKEN = [b"\x01", b"\\x", b"\xff", b"\\u12"]
OTHERS = [
    b": comment\n\n",
    b"\n\n",
    b"data: [DONE]\n\n",
    b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"x"}]},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":1,"delta":{"content":"<think>"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: one\r\n\r\n",
]
SETTINGS = [
    ReasoningSettings(),
    ReasoningSettings(Reasoning.STRIP),
    ReasoningSettings(Reasoning.STRIP, opening=Opening.AUTO),
    ReasoningSettings(Reasoning.FIELD, tags=(TagPair(), TagPair("|", "|"))),
    ReasoningSettings(Reasoning.TAGS, opening=Opening.OPEN),
    ReasoningSettings(tags=(TagPair("<think>", "</think>"), TagPair("é", "<é"), TagPair("a|", '"'))),
]


def plain(
    text: str = "Hi", head: bytes = HEADS[0], logprobs: bytes = b"", usage: bytes = b"", nulls: bytes = b""
) -> bytes:
    delta = b'"delta":{"content":"' + text.encode() + b'"},'
    return (b"data: {" + head + b'"choices":[{"index":0,' + delta + logprobs) + (
        b'"finish_reason":null' + nulls + b"}]" + usage + b"}\n\n"
    )


plain_events = st.builds(
    plain,
    st.lists(st.sampled_from(TEXTS), max_size=2).map("".join),
    st.sampled_from([HEADS[0], *HEADS]),
    st.sampled_from([b"", b'"logprobs":null,']),
    st.sampled_from([b"", b"", b',"usage":null', b',"obfuscation":"x1"', b',"usage":null,"obfuscation":""']),
    st.sampled_from([b"", b"", b',"logprobs":null', b',"stop_reason":null,"token_ids":null']),
)
broken_events = st.sampled_from(BROKEN).map(lambda text: plain("@@").replace(b"@@", text))
streams = st.lists(
    st.one_of(plain_events, plain_events, plain_events, st.sampled_from(OTHERS), broken_events), max_size=12
).map(b"".join)
good_streams = st.lists(st.one_of(plain_events, plain_events, st.sampled_from(OTHERS)), max_size=12).map(b"".join)


def in_runs(pieces: Iterable[bytes]) -> list[Batch]:
    decoder = RunDecoder()
    return [*map(decoder.feed, pieces), decoder.finish()]


def one_by_one(pieces: Iterable[bytes]) -> list[Batch]:
    decoder = EventDecoder()
    return [*map(decoder.feed, pieces), decoder.finish()]


def raws(batches: Iterable[Batch]) -> list[list[bytes]]:
    return [[event.raw for event in batch] for batch in batches]


@given(streams, places)
def test_any_cut_gives_the_events_of_the_other_decoder(stream: bytes, at: list[int]) -> None:
    pieces = cut_at(stream, at)
    assert raws(map(cut_runs, in_runs(pieces))) == raws(one_by_one(pieces))


def test_a_short_stream_in_every_cut() -> None:
    stream = b"\xef\xbb\xbf" + plain("", b"") + b"\n" + plain("\\n", b"") + b"\n\n\n\n" + plain("x", b"") + b"data: x"
    for pieces in cuts(stream):
        assert raws(map(cut_runs, in_runs([*pieces[:1], b"", *pieces[1:]]))) == raws(
            one_by_one([*pieces[:1], b"", *pieces[1:]])
        )


@given(streams, places)
def test_a_run_holds_only_events_that_are_certainly_valid(stream: bytes, at: list[int]) -> None:
    for batch in in_runs(cut_at(stream, at)):
        for event in batch:
            if isinstance(event, TextRun):
                assert all(map(is_plain, event.cut()))


def test_events_that_arrive_together_are_one_run() -> None:
    stream = b"".join(map(plain, TEXTS))
    ((run,), rest) = in_runs([stream])
    assert isinstance(run, TextRun)
    assert (run.raw, rest) == (stream, [])


def test_invalid_text_leaves_no_run() -> None:
    ((first, second), _) = in_runs([plain() + plain("@@").replace(b"@@", b"\xff")])
    assert (type(first), type(second)) == (Event, Event)


def test_an_event_over_the_limit_is_refused() -> None:
    decoder = RunDecoder(200)
    decoder.feed(plain() + b"data: ")
    with pytest.raises(UpstreamProtocolError, match="200 bytes"):
        decoder.feed(b"x" * 200)


def test_a_run_has_no_chunk() -> None:
    with pytest.raises(TypeError, match="no chunk"):
        _ = TextRun(plain()).chunk


def test_the_first_event_of_a_run() -> None:
    first, rest = TextRun(plain("a") + plain("b")).cut_first()
    assert first.raw == plain("a")
    assert rest is not None
    assert (type(rest), rest.raw) == (TextRun, plain("b"))
    assert rest.cut_first()[1] is None


@given(st.lists(st.sampled_from(TEXTS), min_size=1))
def test_the_text_of_a_run_is_that_of_its_events(texts: list[str]) -> None:
    run = TextRun(b"".join(map(plain, texts)))
    chunks: list[Any] = [event.chunk for event in run.cut()]
    assert run.text() == "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)


@given(streams, places)
def test_joined_runs_hold_the_same_events(stream: bytes, at: list[int]) -> None:
    batches = in_runs(cut_at(stream, at))
    joined = list(join_runs(batches))
    assert list(chain(*raws(map(cut_runs, joined)))) == list(chain(*raws(map(cut_runs, batches))))
    assert joined.count([]) == batches.count([])


def breaking(batches: list[Batch], error: Exception) -> Iterator[Batch]:
    yield from batches
    raise error


def test_runs_are_joined_across_silence_until_another_event_comes() -> None:
    a, b, other = TextRun(plain("a")), TextRun(plain("b")), Event(b": comment\n\n")
    batches: list[Batch] = [[a], [], [b], [other, a], [b], [a]]
    assert raws(join_runs(batches)) == [[], [plain("a") + plain("b"), other.raw, a.raw], [plain("b") + plain("a")]]


def test_joined_runs_have_a_limit() -> None:
    run = TextRun(plain("a" * (JOINED // 2)))
    assert raws(join_runs([[run], [run], [run]])) == [[run.raw * 2], [run.raw]]


@pytest.mark.parametrize("error", [UpstreamProtocolError("It broke."), ClientGone()])
@pytest.mark.parametrize("held", [[], [[TextRun(plain())]]])
def test_what_is_held_back_to_be_joined_comes_before_an_error(held: list[Batch], error: Exception) -> None:
    joined = join_runs(breaking(held, error))
    assert raws([next(joined) for _ in held]) == raws(held)
    with pytest.raises(type(error)):
        next(joined)


class Passing:
    """A filter that does not know runs."""

    def __init__(self) -> None:
        self.seen: list[Batch] = []

    def feed(self, batch: Batch) -> Batch:
        self.seen.append(batch)
        return batch

    def finish(self) -> Batch:
        return []


class PassingRuns(Passing):
    takes_runs = True


def test_filters_that_take_runs_get_them() -> None:
    run = TextRun(plain() + plain())
    assert list(apply_filters([[run]], lambda: [PassingRuns(), PassingRuns()])) == [[run]]


def test_one_filter_that_does_not_take_runs_gets_events_and_so_do_all() -> None:
    first, second = PassingRuns(), Passing()
    run, other = TextRun(plain() + plain()), Event(b": comment\n\n")
    batches = list(apply_filters([[run, other], [other]], lambda: [first, second]))
    assert raws(batches) == [[plain(), plain(), other.raw], [other.raw]]
    assert all(type(event) is Event for batch in batches for event in batch)
    assert first.seen == second.seen == batches


def outcome(batches: Iterable[Batch], filters: Sequence[Filter]) -> tuple[list[bytes], str]:
    """Return the bytes of each batch behind the filters, and the error that ended them."""
    passed: list[bytes] = []
    try:
        passed.extend(b"".join([event.raw for event in batch]) for batch in apply_filters(batches, lambda: filters))
    except UpstreamProtocolError as error:
        return passed, error.message
    return passed, ""


def same(stream: bytes, at: list[int], make: Callable[[list[Any]], Sequence[Filter]]) -> None:
    pieces = cut_at(stream, at)
    noted: list[Any] = []
    noted_in_runs: list[Any] = []
    assert outcome(in_runs(pieces), make(noted_in_runs)) == outcome(one_by_one(pieces), make(noted))
    assert noted_in_runs == noted


@pytest.mark.parametrize("settings", SETTINGS)
@given(stream=streams, at=places)
def test_thoughts_are_filtered_as_from_single_events(settings: ReasoningSettings, stream: bytes, at: list[int]) -> None:
    same(stream, at, lambda noted: reasoning_filters(settings, lambda: noted.append("lone end")))


@given(stream=streams, at=places)
def test_other_filters_do_with_runs_what_they_do_with_single_events(stream: bytes, at: list[int]) -> None:
    same(
        stream,
        at,
        lambda noted: [UsageMeter(noted.append), ToolCallFilter(), UsageRemover(), ModelNameFilter('the "other"')],
    )


def test_a_run_that_names_the_model_already_passes_as_it_is() -> None:
    run = TextRun(plain() + plain())
    (passed,) = ModelNameFilter("m").feed([run])
    assert passed is run


def test_the_model_is_set_in_a_run_without_cutting_it() -> None:
    (passed,) = ModelNameFilter("new").feed([TextRun(plain("model") + plain("b"))])
    assert type(passed) is TextRun
    assert passed.raw == (plain("model") + plain("b")).replace(b'"m"', b'"new"')


@given(good_streams, places)
def test_runs_are_assembled_as_their_events(stream: bytes, at: list[int]) -> None:
    whole, cut = CompletionAssembler(), CompletionAssembler()
    for batch in in_runs(cut_at(stream, at)):
        for event in batch:
            for one in cut_runs([event]):
                cut.add(one.chunk or {})
            if isinstance(event, TextRun):
                whole.add_run(event)
            else:
                whole.add(event.chunk or {})
        assert repr(whole.document()) == repr(cut.document())


def think(*texts: str) -> list[Event]:
    """Return what the default filter passes of a run with these texts."""
    (step,) = reasoning_filters(ReasoningSettings())
    return step.feed([TextRun(b"".join(map(plain, texts)))])


def test_thoughts_are_dropped_from_a_run_and_the_rest_of_it_stays_uncut() -> None:
    passed = think("<think>", "a", "b", "</think>", "c", "d", "e")
    assert [event.raw for event in passed] == [plain("c"), plain("d") + plain("e")]


def test_an_event_that_may_matter_is_cut_out_of_its_run() -> None:
    passed = think("a", "b < b <b>", "c", "d </e", "f", "\\u003cx", "g", "\\n", "h")
    assert [event.raw for event in passed] == [
        plain("a"),
        plain("b < b <b>") + plain("c"),
        plain("d </e"),
        plain("f"),
        plain("\\u003cx"),
        plain("g") + plain("\\n") + plain("h"),
    ]


def test_an_empty_text_within_a_thought_is_sent() -> None:
    assert [event.raw for event in think("<think>", "a", "", "b")] == [plain("")]


def test_time_over_a_run_grows_with_its_size() -> None:
    assert_linear(lambda size: think(*["Hi", "\\n", " < ", "<think>", "a", "</think>"] * size), 100)


@pytest.mark.parametrize(
    "event",
    [
        plain(usage=b',"usage":null,"obfuscation":"aB3"'),
        plain(usage=b',"obfuscation":"aB3"'),
        plain(nulls=b',"stop_reason":null,"token_ids":null'),
        plain(nulls=b',"native_finish_reason":null,"logprobs":null'),
        plain(logprobs=b'"logprobs":null,', nulls=b',"matched_stop":null', usage=b',"usage":null'),
    ],
)
def test_plain_events_of_many_servers_form_runs(event: bytes) -> None:
    ((run,), _) = in_runs([event * 3])
    assert (type(run), run.raw) == (TextRun, event * 3)


def test_values_of_which_the_last_counts_are_taken_from_runs() -> None:
    assembly = CompletionAssembler()
    for padding in ("a", "b", "c"):
        head = b'"model":"m","provider":"' + padding.encode() + b'",'
        assembly.add_run(TextRun(plain("x", head, usage=b',"obfuscation":"%s"' % padding.encode()) * 2))
    document = assembly.document()
    assert (document["provider"], document["obfuscation"]) == ("c", "c")
    assert document["choices"][0]["message"]["content"] == "x" * 6
