from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.reasoning.tags import AUTO_DETECT_LIMIT
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.sse import DONE, Document, Event
from tests.support.cuts import cut_at, cuts, places
from tests.support.growth import assert_linear

Json = dict[str, Any]

NONE, STRIP, KEEP, FIELD, TAGS = None, Reasoning.STRIP, Reasoning.KEEP, Reasoning.FIELD, Reasoning.TAGS
POLICIES = (NONE, STRIP, KEEP, FIELD, TAGS)
CLOSED, OPEN, AUTO = Opening
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "<think>"}'}}
CALLS = {"tool_calls": [CALL]}
DETAILS = [
    {"type": "reasoning.text", "text": "h", "signature": "s"},
    {"type": "reasoning.summary", "summary": "m"},
    {"type": "reasoning.encrypted", "data": "x"},
]
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]
SOURCE = {"type": "reference", "reference_ids": [1]}


def message(content: Any, **fields: Any) -> Json:
    return {"role": "assistant", "content": content, **fields}


def thought(text: Any, content: Any, **fields: Any) -> Json:
    return message(content, reasoning_content=text, **fields)


#: What an upstream sends, and what the client gets by each policy, in the order of POLICIES; "" is what was sent.
MESSAGES: dict[str, tuple[Json, ...]] = {
    "none": (message("Hi"), {}, {}, {}, {}, {}),
    "no content": (message(None, refusal="No."), {}, {}, {}, {}, {}),
    "tagged": (message("<think>hm</think>\n\nHi"), message("Hi"), message("Hi"), {}, thought("hm", "Hi"), {}),
    "a field": (thought("hm", "Hi"), {}, message("Hi"), {}, {}, message("<think>hm</think>\n\nHi")),
    "the other field": (
        message("Hi", reasoning="hm"),
        {},
        message("Hi"),
        {},
        thought("hm", "Hi"),
        message("<think>hm</think>\n\nHi"),
    ),
    "both fields": (
        thought("hm", "Hi", reasoning="HM"),
        {},
        message("Hi"),
        {},
        thought("hm", "Hi"),
        message("<think>hm</think>\n\nHi"),
    ),
    "details": (
        message("Hi", reasoning_details=DETAILS),
        {},
        message("Hi"),
        {},
        thought("hm", "Hi", reasoning_details=DETAILS),
        message("<think>hm</think>\n\nHi"),
    ),
    "parts": (message(PARTS), {}, message("Hi"), {}, thought("hm", "Hi"), message("<think>hm</think>\n\nHi")),
    "parts with sources": (
        message([*PARTS, SOURCE]),
        {},
        message([PARTS[1], SOURCE]),
        {},
        thought("hm", [PARTS[1], SOURCE]),
        message([{"type": "text", "text": "<think>hm</think>\n\nHi"}, SOURCE]),
    ),
    "parts that are all text": (
        message([PARTS[1], PARTS[1]]),
        message([PARTS[1], PARTS[1]]),
        message("HiHi"),
        {},
        message("HiHi"),
        message("HiHi"),
    ),
    "a field that says nothing": (thought(None, "Hi"), {}, message("Hi"), {}, {}, message("Hi")),
    "the other field that says nothing": (
        message("Hi", reasoning=""),
        {},
        message("Hi"),
        {},
        message("Hi"),
        message("Hi"),
    ),
    "a field and tags": (
        thought("a", "<think>b</think>Hi"),
        thought("a", "Hi"),
        message("Hi"),
        {},
        thought("a\n\nb", "Hi"),
        message("<think>a</think>\n\n<think>b</think>Hi"),
    ),
    "a field, and text on a new line": (
        thought("hm", "\nHi"),
        {},
        message("\nHi"),
        {},
        {},
        message("<think>hm</think>\nHi"),
    ),
    "an empty block": (message("<think>\n\n</think>\n\nHi"), message("Hi"), message("Hi"), {}, message("Hi"), {}),
    "a closing tag alone": (message("hm</think>Hi"), {}, {}, {}, {}, {}),
    "never closed": (
        message("Hi <think>\nhm </thi"),
        message("Hi "),
        message("Hi "),
        {},
        thought("hm </thi", "Hi "),
        {},
    ),
    "a tag begun": (message("Hi <th"), {}, {}, {}, {}, {}),
    "two blocks": (
        message("<think>a</think>x<think> b</think>\ny"),
        message("x\ny"),
        message("x\ny"),
        {},
        thought("a\n\nb", "x\ny"),
        {},
    ),
    "nested": (
        message("<think>a<think>b</think>c</think>d"),
        message("c</think>d"),
        message("c</think>d"),
        {},
        thought("a<think>b", "c</think>d"),
        {},
    ),
    "in a code block": (
        message("`<think>`a`</think>`"),
        message("``"),
        message("``"),
        {},
        thought("`a`", "``"),
        {},
    ),
    "calls": (message(None, **CALLS), {}, {}, {}, {}, {}),
    "calls after a block": (
        message("<think>hm</think>", **CALLS),
        message("", **CALLS),
        message("", **CALLS),
        {},
        thought("hm", "", **CALLS),
        {},
    ),
    "calls in a thought": (
        message("<think>hm", **CALLS),
        message("", **CALLS),
        message("", **CALLS),
        {},
        thought("hm", "", **CALLS),
        {},
    ),
    "calls after a field": (
        thought("hm", None, **CALLS),
        {},
        message(None, **CALLS),
        {},
        {},
        message("<think>hm</think>", **CALLS),
    ),
    "nothing but a field": (
        thought("hm", ""),
        {},
        message(""),
        {},
        {},
        message("<think>hm</think>"),
    ),
}
THINKING = [(name, policy) for name in MESSAGES for policy in POLICIES]


def document(*messages: Json) -> Json:
    choices = [
        {"index": place, "message": message, "logprobs": None, "finish_reason": ("stop", "length")[place % 2]}
        for place, message in enumerate(messages)
    ]
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


def completion(*texts: str) -> Json:
    choices = [
        {"text": text, "index": place, "logprobs": None, "finish_reason": "stop"} for place, text in enumerate(texts)
    ]
    return {"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


def filter_events(events: Iterable[Event], settings: ReasoningSettings) -> list[Event]:
    """Send events through the filters, each by itself."""
    (step,) = reasoning_filters(settings) or (None,)
    if not step:
        return list(events)
    got = [event for one in events for event in step.feed([one])]
    return got + step.finish()


@pytest.mark.parametrize(
    ("policy", "opening", "text", "times"),
    [
        (Reasoning.STRIP, Opening.CLOSED, "thought[/T]answer", 1),
        (Reasoning.FIELD, Opening.CLOSED, "thought</think>answer</think>", 1),
        (None, Opening.CLOSED, "[T]thought[/T]answer</think>", 0),
        (None, Opening.AUTO, "thought</think>answer</think>", 0),
        (Reasoning.STRIP, Opening.OPEN, "thought</think>answer</think>", 0),
        (Reasoning.TAGS, Opening.CLOSED, "thought</think>answer", 0),
    ],
)
def test_a_lone_closing_tag_is_reported_if_the_text_should_start_outside_of_a_thought(
    policy: Reasoning | None, opening: Opening, text: str, times: int
) -> None:
    settings = ReasoningSettings(policy, tags=(TagPair(), TagPair("[T]", "[/T]")), opening=opening)
    for size in range(1, len(text) + 1):
        seen: list[None] = []
        (step,) = reasoning_filters(settings, lambda seen=seen: seen.append(None))  # type: ignore[misc]
        for at in range(0, len(text), size):
            part = {"index": 0, "delta": {"content": text[at : at + size]}, "finish_reason": None}
            step.feed([event_of({"id": "x", "choices": [part]})])
        step.finish()
        assert len(seen) == times


def filter_document(document: Json, settings: ReasoningSettings) -> Json:
    (event,) = filter_events([Document(json.dumps(document).encode())], settings)
    return event.chunk  # type: ignore[return-value]


def event_of(chunk: Json, **style: Any) -> Event:
    return Event(b"data: " + json.dumps(chunk, **style).encode() + b"\n\n")


def compact_event(chunk: Json) -> Event:
    """Write a chunk as most servers do."""
    return event_of(chunk, ensure_ascii=False, separators=(",", ":"))


def assemble(events: Iterable[Event]) -> Json:
    return assemble_completion(event.chunk for event in events if event.chunk)


TEXTS = ("content", "text", "reasoning_content", "reasoning")


def text_in(chunk: Json) -> str:
    """Give the text that a chunk tells, "" for none."""
    got = [part.get("delta", part).get(name) for part in chunk["choices"] for name in TEXTS]
    return next((text for text in got if isinstance(text, str)), "")


def recut(chunk: Json, pieces: Sequence[str]) -> list[Json]:
    """Give chunks that tell the text of a chunk in pieces."""
    (part,) = chunk["choices"]
    (name,) = [name for name in TEXTS if name in part.get("delta", part)]
    holders = [{name: piece} for piece in pieces]
    parts = [{**part, "delta": one} if "delta" in part else {**part, **one} for one in holders]
    return [{**chunk, "choices": [one]} for one in parts]


def streams_of(document: Json) -> Iterator[list[Json]]:
    """Give the streams that tell a document: as one chunk for each text, and each of its texts in every cut."""
    chunks = list(split_completion(document))
    yield chunks
    for place, chunk in enumerate(chunks):
        for pieces in cuts(text_in(chunk)) if text_in(chunk) else ():
            yield [*chunks[:place], *recut(chunk, pieces), *chunks[place + 1 :]]


def cut_stream(document: Json, at: list[int]) -> list[Json]:
    """Give a stream that tells a document, each of its texts cut at these places."""
    chunks = split_completion(document)
    return [part for one in chunks for part in (recut(one, cut_at(text_in(one), at)) if text_in(one) else [one])]


def check(document: Json, expected: Json, settings: ReasoningSettings) -> None:
    """See that a document becomes another one, however it comes and goes out."""
    answer = filter_document(document, settings)
    assert answer == expected
    assert assemble_completion(split_completion(answer)) == expected
    for chunks in streams_of(document):
        for write in (compact_event, event_of):
            assert assemble(filter_events([*map(write, chunks), DONE], settings)) == expected


def by_policy(name: str, policy: Reasoning | None) -> tuple[Json, Json]:
    sent, *got = MESSAGES[name]
    return sent, got[POLICIES.index(policy)] or sent


@pytest.mark.parametrize(("name", "policy"), THINKING)
def test_the_client_gets_the_same_however_an_answer_comes_and_goes(name: str, policy: Reasoning | None) -> None:
    sent, got = by_policy(name, policy)
    check(document(sent), document(got), ReasoningSettings(policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_choices_do_not_know_of_each_other(policy: Reasoning | None) -> None:
    names = ("tagged", "a field", "none", "never closed", "a field and tags", "calls in a thought")
    both = [by_policy(name, policy) for name in names]
    check(document(*[sent for sent, _ in both]), document(*[got for _, got in both]), ReasoningSettings(policy))


#: What an upstream sends, and the words, the thought, and the text with tags that come of it.
OPENINGS: dict[str, tuple[Opening, str, str, str, str]] = {
    "missing": (OPEN, "hm</think>\n\nHi", "Hi", "hm", "<think>hm</think>\n\nHi"),
    "missing, after a line end": (OPEN, "\nhm</think>Hi", "Hi", "hm", "\n<think>hm</think>Hi"),
    "got nevertheless": (OPEN, "<think>hm</think>Hi", "Hi", "hm", "<think>hm</think>Hi"),
    "got after a line end": (OPEN, "\n<think>hm</think>Hi", "Hi", "hm", "\n<think>hm</think>Hi"),
    "got later": (OPEN, "h<think>m</think>Hi", "Hi", "h<think>m", "<think>h<think>m</think>Hi"),
    "no thought": (OPEN, "</think>Hi", "Hi", "", "<think></think>Hi"),
    "never closed": (OPEN, "hm", "", "hm", "<think>hm"),
    "a tag begun": (OPEN, "<thi", "", "<thi", "<think><thi"),
    "a tag begun, and got": (OPEN, "<<think>hm</think>Hi", "Hi", "<<think>hm", "<think><<think>hm</think>Hi"),
    "white space": (OPEN, "\n ", "", "", "\n "),
    "another block": (
        OPEN,
        "a</think>x<think>b</think>y</think>",
        "xy</think>",
        "a\n\nb",
        "<think>a</think>x<think>b</think>y</think>",
    ),
    "closed first": (AUTO, "\nhm</think>Hi", "Hi", "hm", "\n<think>hm</think>Hi"),
    "closed at once": (AUTO, "</think>\n\nHi", "Hi", "", "<think></think>\n\nHi"),
    "closed twice": (AUTO, "hm</think>a</think>b", "a</think>b", "hm", "<think>hm</think>a</think>b"),
    "opened first": (AUTO, "a<think>b</think>c</think>", "ac</think>", "b", "a<think>b</think>c</think>"),
    "opened at once": (AUTO, "<think>hm</think>\nHi", "Hi", "hm", "<think>hm</think>\nHi"),
    "no tag": (AUTO, "Hi", "Hi", "", "Hi"),
    "no whole tag": (AUTO, "Hi </thin", "Hi </thin", "", "Hi </thin"),
}


def expected_of(name: str, policy: Reasoning | None) -> tuple[str, str, str]:
    """Give what is sent, the words and the thought that come of it."""
    _, sent, words, thought, tagged = OPENINGS[name]
    if policy in (KEEP, TAGS):
        return sent, (sent if policy is KEEP else tagged), ""
    return sent, words, thought if policy is FIELD else ""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", OPENINGS)
def test_an_opening_tag_may_be_missing(name: str, policy: Reasoning | None) -> None:
    settings = ReasoningSettings(policy, opening=OPENINGS[name][0])
    sent, words, text = expected_of(name, policy)
    expected = thought(text, words) if text else message(words)
    check(document(message(sent)), document(expected), settings)
    check(document(message(sent, **CALLS)), document({**expected, **CALLS}), settings)
    check(document(message("Hi"), message(sent)), document(answer_of("Hi", settings), expected), settings)


def answer_of(text: str, settings: ReasoningSettings) -> Json:
    """Give what a text without a tag becomes."""
    if settings.opening is AUTO or settings.policy is KEEP:
        return message(text)
    answers: dict[Reasoning | None, Json] = {TAGS: message("<think>" + text), FIELD: thought(text, "")}
    return answers.get(settings.policy, message(""))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", OPENINGS)
def test_a_legacy_text_has_no_field_but_may_have_tags(name: str, policy: Reasoning | None) -> None:
    settings = ReasoningSettings(policy, opening=OPENINGS[name][0])
    sent, words, _ = expected_of(name, policy)
    check(completion(sent, sent), completion(words, words), settings)


@pytest.mark.parametrize("opening", [OPEN, AUTO])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_thought_in_a_field_shows_that_the_text_starts_outside_of_one(
    policy: Reasoning | None, opening: Opening
) -> None:
    sent = thought("hm", "Hi </think>")
    tagged = message("<think>hm</think>\n\nHi </think>")
    answers: dict[Reasoning | None, Json] = {STRIP: message("Hi </think>"), TAGS: tagged}
    check(document(sent), document(answers.get(policy, sent)), ReasoningSettings(policy, opening=opening))


@pytest.mark.parametrize(("length", "is_thought"), [(AUTO_DETECT_LIMIT - 1, True), (AUTO_DETECT_LIMIT, False)])
@pytest.mark.parametrize("size", [1, 7, 1000, 10_000])
def test_auto_detection_holds_back_a_bounded_text(length: int, is_thought: bool, size: int) -> None:
    text = "x" * length + "</think>Hi"
    settings = ReasoningSettings(STRIP, opening=AUTO)
    expected = document(message("Hi" if is_thought else text))
    assert filter_document(document(message(text)), settings) == expected
    assert assemble(filter_events(stream_of(text, size), settings)) == expected


def stream_of(text: str, size: int) -> Iterator[Event]:
    """Give a stream that tells a text in pieces of this size."""
    first, last, usage = split_completion(document(message("")))
    yield compact_event(first)
    for at in range(0, len(text), size):
        yield delta_event({"content": text[at : at + size]})
    yield from map(compact_event, (last, usage))


def delta_event(delta: Json, **part: Any) -> Event:
    part = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **part}
    return compact_event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [part]})


ENDED = delta_event({}, finish_reason="stop")


def deltas_of(events: Iterable[Event]) -> list[Json]:
    return [choice["delta"] for event in events if event.chunk for choice in event.chunk["choices"]]


SPELLINGS = (TagPair(), TagPair("<thinking>", "</thinking>"), TagPair("[T]", "[/T]"), TagPair("[T]", "</t>"))


def closing(pairs: Sequence[TagPair], tag: str) -> set[str]:
    return {pair.end for pair in pairs if pair.start == tag}


def reference(text: str, pairs: Sequence[TagPair], opening: Opening) -> tuple[str, list[str]]:
    """Tell words from thoughts character by character."""
    starts, ends = {pair.start for pair in pairs}, {pair.end for pair in pairs}
    at, sought, words, thoughts = 0, set[str](), "", [""]
    if opening is OPEN:
        at = len(text) - len(text.lstrip())
        tag = next((tag for tag in starts if text.startswith(tag, at)), "")
        at, sought = at + len(tag), closing(pairs, tag) or ends
    elif opening is AUTO:
        found = [tag for place in range(len(text)) for tag in starts | ends if text.startswith(tag, place)]
        sought = ends if found and found[0] in ends else set()
    is_trimming = False
    while at < len(text):
        tag = next((tag for tag in sought or starts if text.startswith(tag, at)), "")
        if tag and sought:
            sought, is_trimming = set(), not words.strip()
        elif tag:
            sought = closing(pairs, tag)
            thoughts.append("")
        elif sought:
            thoughts[-1] += text[at]
        elif not is_trimming or text[at].strip():
            words, is_trimming = words + text[at], False
        at += len(tag) or 1
    return words, [thought.lstrip() for thought in thoughts if thought.strip()]


fragments = st.sampled_from(
    [*"<[/t> a\n", "</", "think>", "<think", *(tag for pair in SPELLINGS for tag in (pair.start, pair.end))]
)
texts = st.lists(fragments, max_size=12).map("".join)
spellings = st.lists(st.sampled_from(SPELLINGS), min_size=1, unique=True).map(tuple)
openings = st.sampled_from(Opening)


@given(texts, spellings, openings, places)
def test_the_tag_that_comes_first_counts(
    text: str, pairs: tuple[TagPair, ...], opening: Opening, at: list[int]
) -> None:
    words, thoughts = reference(text, pairs, opening)
    fields = {"reasoning_content": "\n\n".join(thoughts)} if thoughts else {}
    for policy, expected in ((NONE, message(words)), (STRIP, message(words)), (FIELD, message(words, **fields))):
        settings = ReasoningSettings(policy, tags=pairs, opening=opening)
        assert filter_document(document(message(text)), settings) == document(expected)
        stream = cut_stream(document(message(text)), at)
        assert assemble(filter_events(map(compact_event, stream), settings)) == document(expected)


@given(texts, texts, st.sampled_from(POLICIES), spellings, openings, places)
def test_streamed_and_whole_agree(
    reasoning: str, text: str, policy: Reasoning | None, pairs: tuple[TagPair, ...], opening: Opening, at: list[int]
) -> None:
    settings = ReasoningSettings(policy, "reasoning", pairs, opening)
    sent = document(thought(reasoning, text), message(text))
    expected = filter_document(sent, settings)
    assert assemble_completion(split_completion(expected)) == expected
    *chunks, usage = cut_stream(sent, at)
    one, other = ([chunk for chunk in chunks if chunk["choices"][0]["index"] == index] for index in (0, 1))
    mixed = [chunk for pair in zip_longest(one, other) for chunk in pair if chunk]
    for stream in (chunks, mixed):
        assert assemble(filter_events(map(compact_event, [*stream, usage]), settings)) == expected


def test_keeping_thoughts_needs_no_filter() -> None:
    assert reasoning_filters(ReasoningSettings(KEEP)) == ()
    assert reasoning_filters(ReasoningSettings(NONE, tags=())) == ()
    assert len(reasoning_filters(ReasoningSettings())) == 1


def test_without_tags_only_fields_count() -> None:
    sent = thought("hm", "<think>x</think>Hi")
    for opening in Opening:
        check(document(sent), document(message(sent["content"])), ReasoningSettings(STRIP, tags=(), opening=opening))
    tagged = message("<think>hm</think>\n\n" + sent["content"])
    check(document(sent), document(tagged), ReasoningSettings(TAGS, tags=()))


def test_the_field_is_one_of_choice() -> None:
    for name in ("reasoning", "thoughts"):
        for sent in (thought("hm", "Hi"), message("Hi", reasoning="hm"), message("<think>hm</think>Hi")):
            check(document(sent), document(message("Hi", **{name: "hm"})), ReasoningSettings(FIELD, name))


def test_the_first_pair_of_tags_is_written() -> None:
    settings = ReasoningSettings(TAGS, tags=SPELLINGS[1:])
    check(document(thought("hm", "Hi")), document(message("<thinking>hm</thinking>\n\nHi")), settings)


def stream_deltas(settings: ReasoningSettings, *deltas: Json) -> list[Json]:
    """Give what the client is got, delta for delta."""
    return deltas_of(filter_events(map(delta_event, deltas), settings))


def test_a_tagged_thought_is_sent_in_its_field_as_it_arrives() -> None:
    pieces = ("<thi", "nk>\n", "hm, ", "well</th", "ink>", "\n\n", "Hi", " there")
    got = stream_deltas(
        ReasoningSettings(FIELD), {"role": "assistant", "content": ""}, *({"content": one} for one in pieces)
    )
    thoughts: list[Json] = [{"reasoning_content": "hm, "}, {"reasoning_content": "well"}]
    assert got == [{"role": "assistant", "content": ""}, *thoughts, {"content": "Hi"}, {"content": " there"}]


def test_a_field_is_written_between_tags_as_it_arrives() -> None:
    deltas: list[Json] = [
        {"role": "assistant", "content": None, "reasoning": ""},
        {"content": "", "reasoning": "hm, "},
        {"reasoning": "well"},
        {"reasoning": None, "content": "Hi"},
        {"reasoning": None, "content": " there"},
        {"reasoning": "again"},
        CALLS,
        {"reasoning": "once more"},
        {"content": "Bye"},
    ]
    assert stream_deltas(ReasoningSettings(TAGS), *deltas) == [
        {"role": "assistant", "content": None},
        {"content": "<think>hm, "},
        {"content": "well"},
        {"content": "</think>\n\nHi"},
        {"content": " there"},
        {"content": "<think>again"},
        {"content": "</think>", **CALLS},
        {"content": "\n\n<think>once more"},
        {"content": "</think>\n\nBye"},
    ]


@pytest.mark.parametrize("end", [[ENDED], [DONE], []], ids=["finish reason", "done", "cut short"])
@pytest.mark.parametrize(
    ("settings", "delta", "rest"),
    [
        (ReasoningSettings(TAGS), {"reasoning": "hm"}, {"content": "</think>"}),
        (ReasoningSettings(TAGS, opening=AUTO), {"content": "hm"}, {"content": "hm"}),
        (ReasoningSettings(TAGS, opening=OPEN), {"content": "<th"}, {"content": "<think><th"}),
        (ReasoningSettings(FIELD), {"content": "<think>hm</th"}, {"reasoning_content": "</th"}),
        (ReasoningSettings(FIELD), {"content": "Hi<th"}, {"content": "<th"}),
        (ReasoningSettings(FIELD, opening=OPEN), {"content": "<th"}, {"reasoning_content": "<th"}),
        (ReasoningSettings(STRIP, opening=AUTO), {"content": "hm"}, {"content": "hm"}),
        (ReasoningSettings(STRIP), {"content": "<think>hm</th"}, {}),
        (ReasoningSettings(NONE, tags=SPELLINGS), {"content": "Hi[T"}, {"content": "[T"}),
    ],
)
def test_what_is_held_back_comes_with_the_end(
    settings: ReasoningSettings, delta: Json, rest: Json, end: list[Event]
) -> None:
    got = deltas_of(filter_events([delta_event(delta), *end], settings))
    assert got[-1] == rest if rest or end == [ENDED] else got == []


def test_what_is_held_back_of_a_legacy_stream_comes_as_text() -> None:
    def text_event(text: str) -> Event:
        return compact_event({"choices": [{"index": 0, "text": text, "finish_reason": None}]})

    for policy, shown in ((FIELD, "a"), (STRIP, "a"), (TAGS, "a<think>b</th"), (NONE, "a")):
        settings = ReasoningSettings(policy, tags=SPELLINGS)
        assert assemble(filter_events([text_event("a<think>b</th"), DONE], settings))["choices"][0]["text"] == shown
        got = filter_events([text_event("a<th"), DONE], settings)
        assert assemble(got)["choices"][0]["text"] == "a<th"


def test_a_legacy_stream_gets_no_chat_delta_for_a_thought_that_never_closes() -> None:
    part = {"index": 0, "text": "a<think>b</th", "finish_reason": None}
    events = filter_events([compact_event({"choices": [part]}), DONE], ReasoningSettings(FIELD))
    assert [event.chunk and event.chunk["choices"][0] for event in events] == [{**part, "text": "a"}, None]


@pytest.mark.parametrize("call", [CALLS, {"function_call": {"name": "f", "arguments": ""}}])
@pytest.mark.parametrize("opening", [CLOSED, OPEN])
def test_a_tool_call_ends_a_thought(call: Json, opening: Opening) -> None:
    start = "<think>" if opening is CLOSED else ""
    deltas = ({"content": start + "hm </th"}, call, {"content": "\nHi"})
    assert stream_deltas(ReasoningSettings(STRIP, opening=opening), *deltas)[-2:] == [call, {"content": "Hi"}]
    assert stream_deltas(ReasoningSettings(FIELD, opening=opening), *deltas) == [
        {"reasoning_content": "hm "},
        {**call, "reasoning_content": "</th"},
        {"content": "Hi"},
    ]
    assert stream_deltas(ReasoningSettings(NONE, tags=SPELLINGS, opening=opening), *deltas) == [call]


@pytest.mark.parametrize(
    "call", [{"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, {"function_call": {"name": "f"}}]
)
@pytest.mark.parametrize("policy", [STRIP, FIELD])
def test_a_tool_call_without_a_word_before_it_shows_that_nothing_is_thought(policy: Reasoning, call: Json) -> None:
    for opening in (OPEN, AUTO):
        got = stream_deltas(ReasoningSettings(policy, opening=opening), call, call, {"content": "Hi </think>"})
        assert got == [call, call, {"content": "Hi </think>"}]


def test_auto_detection_ends_with_a_tool_call() -> None:
    deltas = ({"content": "hm"}, CALLS, {"content": " </think>"})
    for policy in (STRIP, FIELD, TAGS):
        got = stream_deltas(ReasoningSettings(policy, opening=AUTO), *deltas)
        assert got == [{"content": "hm", **CALLS}, {"content": " </think>"}]


def test_only_the_first_field_with_a_thought_is_read() -> None:
    deltas: list[Json] = [
        {"reasoning_content": "h", "reasoning": "h"},
        {"reasoning": "m"},
        {"reasoning_content": "m"},
        {"reasoning_details": DETAILS},
        {"content": "Hi"},
    ]
    assert stream_deltas(ReasoningSettings(TAGS), *deltas) == [
        {"content": "<think>h"},
        {"content": "m"},
        {"content": "</think>\n\nHi"},
    ]
    assert stream_deltas(ReasoningSettings(FIELD, "reasoning"), *deltas) == [
        {"reasoning": "h"},
        {"reasoning": "m"},
        {"reasoning_details": DETAILS},
        {"content": "Hi"},
    ]


def test_a_thought_in_parts_comes_in_parts() -> None:
    parts: list[Any] = [[{"type": "thinking", "thinking": one}] for one in ([{"type": "text", "text": "h"}, 5], "m")]
    deltas = [{"content": part} for part in (*parts, [{"type": "thinking", "closed": True}], "Hi", [PARTS[1]])]
    assert stream_deltas(ReasoningSettings(STRIP), *deltas) == [{"content": "Hi"}, {"content": "Hi"}]
    assert stream_deltas(ReasoningSettings(FIELD), *deltas) == [
        {"content": "", "reasoning_content": "h"},
        {"content": "", "reasoning_content": "m"},
        {"content": "Hi"},
        {"content": "Hi"},
    ]
    tagged = stream_deltas(ReasoningSettings(TAGS), *deltas)
    assert tagged == [{"content": one} for one in ("<think>h", "m", "</think>\n\nHi", "Hi")]


def tokens(*texts: str) -> Json:
    return {"content": [{"token": text} for text in texts], "refusal": None}


#: A message, its tokens, and those that stay without thoughts and with thoughts in a field.
LOGPROBS: dict[str, tuple[Json, Any, Any, Any]] = {
    "tagged": (message("<think>hm</think>Hi"), tokens("<think>", "hm", "</think>", "Hi"), tokens("Hi"), tokens("Hi")),
    "tokens of the field": (thought("hm", "Hi"), tokens("h", "m", "Hi"), tokens("Hi"), tokens("h", "m", "Hi")),
    "a token of both": (thought("hm", "Hi"), tokens("h", "mHi"), tokens("mHi"), tokens("h", "mHi")),
    "no tokens of the field": (thought("hm", "Hi"), tokens("Hi"), tokens("Hi"), tokens("Hi")),
    "other tokens": (thought("hm", "Hi"), tokens("?"), None, tokens("?")),
    "no tokens": (thought("hm", "Hi"), {"content": None}, {"content": None}, {"content": None}),
    "no object": (thought("hm", "Hi"), 5, 5, 5),
    "tokens in a field": (
        thought("hm", "Hi"),
        {**tokens("Hi"), "reasoning_content": [{"token": "hm"}]},
        tokens("Hi"),
        {**tokens("Hi"), "reasoning_content": [{"token": "hm"}]},
    ),
    "parts with sources": (message([*PARTS, SOURCE]), tokens("hm", "Hi"), None, tokens("hm", "Hi")),
}


@pytest.mark.parametrize("name", LOGPROBS)
def test_logprobs_of_thoughts_go_with_them(name: str) -> None:
    message, logprobs, stripped, moved = LOGPROBS[name]
    sent = document(message)
    sent["choices"][0]["logprobs"] = logprobs
    for policy, expected in ((STRIP, stripped), (FIELD, moved), (TAGS, logprobs)):
        assert filter_document(sent, ReasoningSettings(policy))["choices"][0]["logprobs"] == expected


def test_logprobs_wait_for_their_text() -> None:
    settings = ReasoningSettings(STRIP, opening=AUTO)
    events = [delta_event({"content": one}, logprobs=tokens(one)) for one in ("h", "m", "</think>", "Hi")]
    got = [event.chunk["choices"][0] for event in filter_events([*events, ENDED], settings) if event.chunk]
    assert [(part["delta"], part["logprobs"]) for part in got] == [({"content": "Hi"}, tokens("Hi")), ({}, None)]
    events = [delta_event({"content": one}, logprobs=tokens(one)) for one in ("h", "m")]
    got = [event.chunk["choices"][0] for event in filter_events([*events, ENDED], settings) if event.chunk]
    assert [(part["delta"], part["logprobs"]) for part in got] == [({"content": "hm"}, tokens("h", "m"))]


def test_logprobs_of_a_thought_in_a_field_are_not_sent() -> None:
    event = delta_event({"reasoning_content": "hm"}, logprobs=tokens("hm"))
    assert filter_events([event], ReasoningSettings(STRIP)) == []


@pytest.mark.parametrize("policy", [STRIP, FIELD, TAGS])
@pytest.mark.parametrize("opening", Opening)
def test_what_cannot_change_is_not_parsed(policy: Reasoning, opening: Opening) -> None:
    (step,) = reasoning_filters(ReasoningSettings(policy, tags=SPELLINGS[:2], opening=opening))
    step.feed([delta_event({"role": "assistant", "content": "</think>Hi"})])
    broken = Event(delta_event({"content": "Hi"}).raw.replace(b"}", b""))
    batch = [broken, Event(b": comment\n\n"), delta_event({"content": "there"}), broken, DONE]
    assert step.feed(batch) is batch
    assert step.finish() == []


def test_a_thought_that_is_dropped_is_not_parsed() -> None:
    (step,) = reasoning_filters(ReasoningSettings(STRIP, tags=SPELLINGS, opening=OPEN))
    assert step.feed([delta_event({"content": "hm"})]) == []
    broken = Event(delta_event({"content": "hm"}).raw.replace(b"hm", b"\\x"))
    assert step.feed([broken]) == []
    (got,) = step.feed([delta_event({"content": "</think>Hi"})])
    assert deltas_of([got]) == [{"content": "Hi"}]


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("policy", [NONE, STRIP, FIELD])
def test_other_spellings_are_seen_however_they_are_written(policy: Reasoning | None, ensure_ascii: bool) -> None:
    settings = ReasoningSettings(policy, tags=(TagPair(), TagPair("◁think▷", "◁/think▷"), TagPair("\n[", "]")))
    for text in ("Hi<think>a</think> ", "Hi◁think▷b</think>◁/think▷ ", "Hi\n[c] "):
        for pieces in cuts(text):
            deltas = [
                {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces
            ]
            events = [event_of(one, ensure_ascii=ensure_ascii, separators=(",", ":")) for one in deltas]
            assert assemble(filter_events([*events, ENDED], settings))["choices"][0]["message"]["content"] == "Hi "


MALFORMED: list[Json] = [
    {"delta": "<odd"},
    {"delta": ["<"]},
    {"message": "<odd", "odd": "reasoning"},
    {"delta": {"content": 5}, "odd": "<"},
    {"delta": {"content": {"type": "thinking"}}},
    {"delta": {"content": ["<", {"type": ["thinking"]}]}},
    {"delta": {"reasoning": 5, "reasoning_details": 5}},
    {"delta": {"reasoning": ["<"], "reasoning_details": ["<", {"type": ["<"]}, {"type": "reasoning.text"}]}},
    {"delta": {"reasoning_content": {}, "tool_calls": 5}},
    {"text": 5, "reasoning": "hm", "logprobs": "<"},
]


@pytest.mark.parametrize("opening", Opening)
@pytest.mark.parametrize("part", MALFORMED)
def test_what_is_malformed_passes_untouched(part: Json, opening: Opening) -> None:
    for policy in (NONE, FIELD):
        settings = ReasoningSettings(policy, tags=SPELLINGS, opening=opening)
        event, text = compact_event({"choices": [part]}), delta_event({"content": "x</think>y"}, index=1)
        assert filter_events([event], settings) == [event]
        (first, *_) = filter_events([compact_event({"choices": [part, *(text.chunk or {})["choices"]]})], settings)
        assert (first.chunk or {})["choices"][0] == part


def test_fields_of_any_kind_go() -> None:
    delta = {"reasoning_content": {}, "reasoning": 5, "reasoning_details": ["<"], "refusal": "x"}
    for policy in (STRIP, TAGS):
        assert stream_deltas(ReasoningSettings(policy), delta) == [{"refusal": "x"}]


HUGE = 10 * 1024 * 1024


@pytest.mark.parametrize("opening", Opening)
@pytest.mark.parametrize("policy", [NONE, STRIP, FIELD, TAGS])
def test_a_huge_thought_is_not_kept(policy: Reasoning | None, opening: Opening) -> None:
    (step,) = reasoning_filters(ReasoningSettings(policy, tags=SPELLINGS, opening=opening))
    event = delta_event({"content": "hm, \\n" * 2048})
    count = HUGE // len(event.raw)
    step.feed([delta_event({"content": "<think>hm"})])
    tracemalloc.start()
    passed = sum(len(step.feed([Event(event.raw)])) for _ in range(count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert passed == (count if policy in (FIELD, TAGS) else 0)
    assert peak < HUGE / 20


def test_a_huge_whole_thought_is_taken_at_once() -> None:
    def work(size: int) -> None:
        text = "<think>" + "hm, </thin " * (size // 11) + "</think>Hi"
        for policy in (NONE, STRIP, FIELD):
            answer = filter_document(document(message(text)), ReasoningSettings(policy, tags=SPELLINGS))
            assert answer["choices"][0]["message"]["content"] == "Hi"

    assert_linear(work, HUGE // 16)


@pytest.mark.parametrize("opening", Opening)
@pytest.mark.parametrize("policy", [STRIP, FIELD, TAGS])
def test_many_choices_take_no_longer_than_one(policy: Reasoning, opening: Opening) -> None:
    def work(size: int) -> None:
        settings = ReasoningSettings(policy, tags=SPELLINGS, opening=opening)
        events = [delta_event({"content": "<think>a</think>b <"}, index=index) for index in range(size)]
        ends = [delta_event({}, index=index, finish_reason="stop") for index in range(size)]
        assert len(filter_events([*events, *ends], settings)) == 2 * size

    assert_linear(work, 250)


def test_auto_detection_takes_time_linear_in_the_tokens() -> None:
    def work(size: int) -> None:
        settings = ReasoningSettings(STRIP, opening=AUTO)
        events = [delta_event({"content": "x"}, logprobs=tokens("x")) for _ in range(size)]
        got = assemble(filter_events([*events, ENDED], settings))["choices"][0]
        assert len(got["message"]["content"]) == len(got["logprobs"]["content"]) == size

    assert_linear(work, AUTO_DETECT_LIMIT // 4)
