from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.reasoning.policy import ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, EventDecoder
from tests.support.cuts import cut_at, cuts, places
from tests.support.growth import assert_linear

Json = dict[str, Any]
TAGS = TagPair()

TEXTS = {
    "no tag": ("Hello.", "Hello."),
    "a block": ("<think>hm</think>Hello.", "Hello."),
    "white space behind it": ("<think>hm</think>\n\n Hello. ", "Hello. "),
    "white space before it": ("\n<think>hm</think>\n\nHello.", "\nHello."),
    "an empty block": ("<think>\n\n</think>\n\nHello.", "Hello."),
    "several blocks": ("<think>a</think>\n<think>b</think>\nHello", "Hello"),
    "a block in the middle": ("Hello <think>hm</think> there", "Hello  there"),
    "a block at the end": ("Hello<think>hm</think>\n", "Hello\n"),
    "a block that never ends": ("Hello<think>hm </thin", "Hello"),
    "only a block": ("<think>hm</think>", ""),
    "a closing tag alone": ("a</think>b", "a</think>b"),
    "the first closing tag ends it": ("<think>a<think>b</think>c</think>d", "c</think>d"),
    "look-alikes": ("<thin a < b <<think >x</ think><Think>", "<thin a < b <<think >x</ think><Think>"),
    "a tag begun at the end": ("Hello<thin", "Hello<thin"),
    "tag after its own beginning": ("<<think>x</think>y", "<y"),
    "end after its own beginning": ("<think><</</think>y", "y"),
    "indented answer": ("<think>a</think>Hello\n    code", "Hello\n    code"),
    "other letters": ("<think>思考🤔</think>你好 <think>x</think>🎉", "你好 🎉"),
}


def reference(text: str, tags: TagPair = TAGS) -> str:
    shown, visible = "", False
    while True:
        before, opened, rest = text.partition(tags.start)
        visible = visible or bool(before.strip(" \t\r\n"))
        shown += before
        if not opened:
            return shown
        _, closed, text = rest.partition(tags.end)
        if not closed:
            return shown
        text = text if visible else text.lstrip(" \t\r\n")


def chunk(part: Json, **top: Any) -> Json:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [part], **top}


def delta_event(text: str, index: int = 0, **more: Any) -> Event:
    return event_of(chunk({"index": index, "delta": {"content": text}, "finish_reason": None, **more}))


def end_event(index: int = 0, finish_reason: str = "stop") -> Event:
    return event_of(chunk({"index": index, "delta": {}, "finish_reason": finish_reason}))


def event_of(chunk: Json, **style: Any) -> Event:
    return Event(b"data: " + json.dumps(chunk, **style).encode() + b"\n\n")


def compact_event(text: str) -> Event:
    part = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event_of(chunk(part), ensure_ascii=False, separators=(",", ":"))


def legacy_event(text: str) -> Event:
    return event_of(
        {"id": "x", "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": None}]}
    )


def think_filter(tags: TagPair = TAGS, on_lone_end: Callable[[], None] | None = None) -> Filter:
    (step,) = reasoning_filters(ReasoningSettings(tags=(tags,)), on_lone_end)
    return step


def strip(events: Iterable[Event], tags: TagPair = TAGS) -> list[Event]:
    think = think_filter(tags)
    passed = [event for one in events for event in think.feed([one])]
    return passed + think.finish()


def texts(events: Sequence[Event]) -> dict[int, str]:
    document = assemble_completion(event.chunk for event in events if event.chunk)
    return {
        choice["index"]: choice["message"]["content"] or "" if "message" in choice else choice["text"]
        for choice in document["choices"]
    }


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS.keys())
def test_thoughts_are_removed_however_the_text_is_cut(text: str, shown: str) -> None:
    assert reference(text) == shown
    for pieces in cuts(text):
        for make in (delta_event, compact_event, legacy_event):
            events = [make(piece) for piece in pieces]
            assert texts(strip(events)).get(0, "") == shown
        finished = [*map(delta_event, pieces), end_event()]
        assert texts(strip(finished))[0] == shown


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS.keys())
def test_a_whole_answer_agrees(text: str, shown: str) -> None:
    chat = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    completion = {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    assert whole(chat)["choices"][0]["message"]["content"] == shown
    assert whole(completion)["choices"][0]["text"] == shown


def whole(document: Json, tags: TagPair = TAGS) -> Json:
    think = think_filter(tags)
    (event,) = think.feed([Document(json.dumps(document).encode())])
    assert think.finish() == []
    return event.chunk  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "is_parsed"), [("answer", False), ("a < b </b", True), ("\\u003c/think>", True), ("a < b", False)]
)
def test_a_document_without_a_sign_of_a_tag_passes_unparsed(text: str, is_parsed: bool) -> None:
    think = think_filter(TAGS)
    document = Document(b'{"choices": [{"message": {"content": "%s"}}, "' % text.encode())
    if is_parsed:
        with pytest.raises(UpstreamProtocolError):
            think.feed([document])
    else:
        assert think.feed([document]) == [document]


def count_lone_ends(events: Iterable[Event], tags: TagPair = TAGS) -> int:
    seen: list[None] = []
    think = think_filter(tags, lambda: seen.append(None))
    for event in events:
        think.feed([event])
    think.finish()
    return len(seen)


LONE_ENDS = {
    "thought</think>answer": 1,
    "</think>": 1,
    "a</thi a</think> b</think>": 1,
    "a</think>b<think>c": 1,
    "<think>a</think>b</think>": 0,
    "a<think>b": 0,
    "a < b </ c </thin": 0,
}


@pytest.mark.parametrize(("text", "times"), LONE_ENDS.items())
def test_a_lone_closing_tag_is_reported_once_however_the_text_is_cut(text: str, times: int) -> None:
    for pieces in cuts(text):
        for make in (delta_event, compact_event, legacy_event):
            events = [make(piece) for piece in pieces]
            assert count_lone_ends(events) == times
            assert texts(strip(events)).get(0, "") == reference(text)
    document = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    assert count_lone_ends([Document(json.dumps(document).encode())]) == times


parts = st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "é", "<thin", "🤔", "<<"])


@given(st.lists(st.tuples(st.integers(0, 2), parts), max_size=30), places, st.booleans())
def test_random_texts_of_three_choices_in_random_cuts(spoken: list[tuple[int, str]], at: list[int], ends: bool) -> None:
    events = [delta_event(text, index) for index, text in spoken]
    events += [end_event(index) for index in range(3)] if ends else [DONE]
    stream = b"".join(event.raw for event in events)
    decoder, think = EventDecoder(), think_filter()
    passed: Batch = []
    for piece in cut_at(stream, at):
        passed += think.feed(decoder.feed(piece))
    passed += think.finish()
    shown = texts(passed)
    for index in range(3):
        text = "".join(part for choice, part in spoken if choice == index)
        assert shown.get(index, "") == reference(text)


tokens = st.lists(st.text("<think/> a", min_size=1, max_size=4), max_size=12)


@given(tokens, st.integers(1, 4))
def test_streamed_and_whole_agree_on_logprobs_too(spoken: list[str], size: int) -> None:
    entries: list[Json] = [{"token": token, "logprob": -place} for place, token in enumerate(spoken)]
    pieces = [entries[at : at + size] for at in range(0, len(entries), size)]
    streamed = [
        delta_event("".join(entry["token"] for entry in piece), logprobs={"content": piece, "refusal": None})
        for piece in pieces
    ]
    message = {"role": "assistant", "content": "".join(spoken)}
    logprobs = {"content": entries, "refusal": None}
    expected = whole({"choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}]})
    document = assemble_completion(event.chunk for event in strip([*streamed, end_event()]) if event.chunk)
    choice = document["choices"][0]
    assert (choice["message"]["content"] or "") == expected["choices"][0]["message"]["content"]
    kept = (choice.get("logprobs") or {}).get("content") or []
    assert kept == expected["choices"][0]["logprobs"]["content"]


def test_tokens_of_thoughts_are_removed_from_logprobs() -> None:
    entries = [{"token": token} for token in ("a<", "think>", "secret", "</think", ">b", "c")]
    logprobs = {"content": entries, "refusal": None}
    text = "".join(entry["token"] for entry in entries)
    document = whole({"choices": [{"index": 0, "message": {"content": text}, "logprobs": logprobs}]})
    assert [entry["token"] for entry in document["choices"][0]["logprobs"]["content"]] == ["a<", ">b", "c"]


def test_legacy_logprobs_are_parallel_lists() -> None:
    logprobs = {
        "tokens": ["<think>", "x", "</think>", "y"],
        "token_logprobs": [1, 2, 3, 4],
        "top_logprobs": None,
        "text_offset": [0, 7, 8, 16],
    }
    document = whole({"choices": [{"index": 0, "text": "<think>x</think>y", "logprobs": logprobs}]})
    assert document["choices"][0]["logprobs"] == {
        "tokens": ["y"],
        "token_logprobs": [4],
        "top_logprobs": None,
        "text_offset": [16],
    }


@pytest.mark.parametrize(
    "logprobs", [{"content": [{"token": "other"}]}, {"content": None}, {"odd": 1}, {"content": [3]}]
)
def test_logprobs_that_do_not_fit_the_text_are_left_out(logprobs: Json) -> None:
    part = {"index": 0, "message": {"content": "<think>x</think>y"}, "logprobs": logprobs}
    assert whole({"choices": [part]})["choices"][0]["logprobs"] is None


def tokens_of(*texts: Any) -> Json:
    return {"content": [{"token": text} for text in texts], "refusal": None}


HALVES = tokens_of("\\xf0\\x9f\\x98", "\\x80", " <")
THOUGHTLESS: dict[str, Json] = {
    "half characters": {"message": {"content": "<😀"}, "logprobs": HALVES},
    "reasoning": {"message": {"content": "<a", "reasoning_content": "hm"}, "logprobs": tokens_of("hm", "<a")},
    "a tool call": {"message": {"content": None, "tool_calls": [{"x": "<"}]}, "logprobs": tokens_of("<", "f")},
    "a refusal": {"delta": {"refusal": "<"}, "logprobs": {"content": None, "refusal": [{"token": "<"}]}},
    "no content": {"delta": {"tool_calls": [{"x": "<"}]}, "logprobs": tokens_of("<")},
    "numbers for tokens": {"text": "a <b", "logprobs": {"tokens": ["token_id:1"], "token_logprobs": [-1]}},
    "half characters in a stream": {"delta": {"content": "<😀"}, "logprobs": HALVES},
    "tokens without a character": {"delta": {"content": "<😀"}, "logprobs": tokens_of("", "<", "", "😀", "")},
}


@pytest.mark.parametrize("part", THOUGHTLESS.values(), ids=THOUGHTLESS.keys())
def test_what_holds_no_thought_keeps_its_logprobs_and_its_bytes(part: Json) -> None:
    event = event_of(chunk({"index": 0, **part}))
    assert strip([event]) == [event]
    document = Document(json.dumps({"choices": [{"index": 0, **part}]}).encode())
    assert strip([document]) == [document]


def logprobs_of(events: Sequence[Event]) -> list[list[Any] | None]:
    all_logprobs = [(event.chunk or {})["choices"][0].get("logprobs") for event in events]
    return [logprobs and [entry["token"] for entry in logprobs["content"]] for logprobs in all_logprobs]


def test_tokens_that_are_not_their_text_are_dropped_with_a_thought_only() -> None:
    events = [
        delta_event("<😀", logprobs=HALVES),
        delta_event("a<think>", logprobs=tokens_of("other")),
        delta_event("hm😀", logprobs=HALVES),
        delta_event("</think>b", logprobs=tokens_of("</think>", "b")),
        delta_event("c <", logprobs=HALVES),
        delta_event("d", logprobs=tokens_of("d")),
    ]
    halves = [entry["token"] for entry in HALVES["content"]]
    assert logprobs_of(strip([*events, end_event()])) == [halves, None, ["b"], halves, ["d"], None]


def test_tokens_of_text_held_back_come_with_it() -> None:
    events = [
        delta_event("a <", logprobs=tokens_of("a ", "<")),
        delta_event("", logprobs=tokens_of("")),
        delta_event("😀", logprobs=HALVES),
        delta_event("<", logprobs={"content": [{"token": "<"}], "refusal": [1]}),
        end_event(),
    ]
    halves = [entry["token"] for entry in HALVES["content"]]
    passed = strip(events)
    assert logprobs_of(passed) == [["a "], [""], ["<", *halves], [], ["<"]]
    assert (passed[-1].chunk or {})["choices"][0]["logprobs"] == {"content": [{"token": "<"}], "refusal": None}


def test_legacy_tokens_of_text_held_back_come_with_it() -> None:
    logprobs = {"tokens": ["a", "<"], "token_logprobs": [1, 2], "top_logprobs": None}
    first = event_of({"choices": [{"index": 0, "text": "a<", "logprobs": logprobs, "finish_reason": None}]})
    last = event_of({"choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
    passed = [(event.chunk or {})["choices"][0] for event in strip([first, last])]
    assert [part["text"] for part in passed] == ["a", "<"]
    assert passed[1]["logprobs"] == {"tokens": ["<"], "token_logprobs": [2], "top_logprobs": None}


def test_an_untouched_event_is_the_very_same_one() -> None:
    events = [
        delta_event("Hello"),
        delta_event(" a"),
        Event(b": comment\n\n"),
        Event(b'data: {"usage": {}, "choices": []}\n\n'),
        DONE,
    ]
    think = think_filter()
    for batch in (events[:1], events[1:]):
        assert think.feed(batch) is batch
    marked = [
        delta_event("a </b"),
        end_event(),
        Event(b'data: {"odd": "<", "choices": {}}\n\n'),
        Event(b": <\n\n"),
        DONE,
    ]
    assert strip(marked) == marked
    document = Document(b'{"choices": [{"message": {"content": "a </b"}}, "<"]}')
    assert strip([document]) == [document]


def test_escaped_brackets_are_seen() -> None:
    raw = (
        rb'data: {"choices":[{"index":0,"delta":{"content":"\u003cthink\u003Ex\u003c/think>y"},"finish_reason":null}]}'
    )
    assert texts(strip([Event(raw + b"\n\n")]))[0] == "y"


def test_an_emptied_delta_is_sent_only_with_other_content() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "<think>"}}
    events = [
        event_of(chunk({"index": 0, "delta": {"role": "assistant", "content": "<think>"}, "finish_reason": None})),
        delta_event("one"),
        event_of(chunk({"index": 0, "delta": {"role": "assistant", "content": "two"}, "finish_reason": None})),
        event_of(chunk({"index": 0, "delta": {"content": "three", "tool_calls": [call]}, "finish_reason": None})),
        event_of(chunk({"index": 0, "delta": {"content": "four"}, "finish_reason": None}, usage={"n": 1})),
        event_of(chunk({"index": 0, "delta": {"content": "five"}, "finish_reason": None}, news={"a": 1})),
        event_of(chunk({"index": 0, "delta": {"content": "six"}, "finish_reason": None}, news={"a": 2})),
        event_of(chunk({"index": 0, "delta": {"content": "seven"}, "finish_reason": None, "seen": 1})),
        event_of(chunk({"index": 0, "delta": {"content": "eight"}, "finish_reason": "length"})),
    ]
    passed = [event.chunk or {} for event in strip(events)]
    assert [part["choices"][0]["delta"].get("content") for part in passed] == [""] * 6
    assert passed[0]["choices"][0]["delta"]["role"] == "assistant"
    assert passed[1]["choices"][0]["delta"]["tool_calls"] == [call]
    assert passed[2]["usage"] == {"n": 1}
    assert passed[3]["news"] == {"a": 1}
    assert passed[4]["choices"][0]["seen"] == 1
    assert passed[5]["choices"][0]["finish_reason"] == "length"


def test_tags_in_tool_arguments_are_left_alone() -> None:
    call = {"index": 0, "function": {"arguments": "<think>x</think>"}}
    event = event_of(chunk({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}))
    assert strip([event]) == [event]


def test_at_most_a_tag_less_one_character_is_held_back() -> None:
    text = "<think>a</think>b<thin<think<think c </think> d <"
    for size in range(1, 9):
        think, fed, got = think_filter(), "", ""
        for piece in (text[at : at + size] for at in range(0, len(text), size)):
            fed += piece
            got += "".join(
                (event.chunk or {})["choices"][0]["delta"]["content"] for event in think.feed([delta_event(piece)])
            )
            due = reference(fed)
            assert due.startswith(got)
            assert len(due) - len(got) < len(TAGS.end)


def test_what_is_held_back_comes_before_the_end_of_a_stream_without_finish_reason() -> None:
    passed = strip([delta_event("a <th"), DONE])
    assert [event.chunk["choices"][0]["delta"]["content"] for event in passed[:2] if event.chunk] == ["a ", "<th"]
    assert passed[1].chunk == chunk({"index": 0, "delta": {"content": "<th"}, "finish_reason": None})
    assert passed[2] is DONE


def test_what_is_held_back_of_a_legacy_stream_comes_as_text() -> None:
    passed = strip([legacy_event("a <th"), DONE])
    assert texts(passed)[0] == "a <th"
    assert (passed[1].chunk or {})["choices"] == [{"index": 0, "text": "<th", "finish_reason": None}]


def test_a_finish_chunk_without_a_delta_carries_what_was_held() -> None:
    passed = strip([delta_event("<"), event_of(chunk({"index": 0, "finish_reason": "stop"}))])
    assert texts(passed)[0] == "<"


@pytest.mark.parametrize(
    ("pair", "text", "shown"),
    [
        (TagPair("◁think▷", "◁/think▷"), "◁think▷x◁/think▷y ◁", "y ◁"),
        (TagPair("[THINK]", "[/THINK]"), "[THINK]x[/THINK]y[", "y["),
        (TagPair("|", "|"), "|x|y|z|", "y"),
        (TagPair("🤔", "💡"), "🤔x💡y", "y"),
        (TagPair("\n<r>", "</r>"), "a\n<r>x</r>y\n", "ay\n"),
        (TagPair('"t"', "\\e"), 'a"t"x\\ey\\', "ay\\"),
    ],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_other_tags(pair: TagPair, text: str, shown: str, ensure_ascii: bool) -> None:
    for pieces in cuts(text):
        events = [
            event_of(
                chunk({"index": 0, "delta": {"content": piece}, "finish_reason": None}),
                ensure_ascii=ensure_ascii,
                separators=(",", ":"),
            )
            for piece in pieces
        ]
        assert texts(strip([*events, end_event()], pair))[0] == shown


def test_content_in_parts_is_stripped_part_by_part() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "<think>"}]}
    parts = [thinking, {"type": "text", "text": "<think>x</thi"}, {"type": "text", "text": "nk>y<"}]
    event = event_of(chunk({"index": 0, "delta": {"content": parts}, "finish_reason": "stop"}))
    (passed,) = strip([event])
    assert (passed.chunk or {})["choices"][0]["delta"]["content"] == [
        thinking,
        {"type": "text", "text": ""},
        {"type": "text", "text": "y"},
        {"type": "text", "text": "<"},
    ]
    plain = event_of(chunk({"index": 0, "delta": {"content": [{"type": "text", "text": "a <b"}, "<"]}}))
    assert strip([plain]) == [plain]


def test_text_repeated_beside_the_delta_is_stripped_with_it() -> None:
    event = event_of(chunk({"index": 0, "delta": {"content": "<think>x</think>y"}, "text": "<think>x</think>y"}))
    (passed,) = strip([event])
    assert (passed.chunk or {})["choices"][0]["text"] == "y"


def test_an_unexpected_choice_is_filtered_too() -> None:
    events = [
        delta_event("x"),
        delta_event("y", 1),
        delta_event("<think>a</think>\n\nz", 1),
        delta_event("<think>a</think>\n\nz", 2),
    ]
    assert texts(strip(events)) == {0: "x", 1: "y\n\nz", 2: "z"}


def test_choices_without_an_index_are_distinguished_by_position() -> None:
    parts = [
        {"message": {"content": text}, "finish_reason": "stop"} for text in ("a<think>b", "c", "<think>d</think>e")
    ]
    assert [choice["message"]["content"] for choice in whole({"choices": parts})["choices"]] == ["a", "c", "e"]


def test_many_choices_take_no_longer_than_one() -> None:
    def work(size: int) -> None:
        think = think_filter()
        passed = [event for index in range(size) for event in think.feed([delta_event("<think>a</think>b <", index)])]
        passed += [event for index in range(size) for event in think.feed([end_event(index)])]
        assert (len(passed), len(think.finish())) == (2 * size, 0)

    assert_linear(work, 500)


def test_many_thoughts_with_logprobs_take_no_longer_than_one() -> None:
    thought = ["<think>", "a", "</think>", "b"]

    def work(size: int) -> None:
        part = {"message": {"content": "".join(thought * size)}, "logprobs": tokens_of(*thought * size)}
        choice = whole({"choices": [part]})["choices"][0]
        assert choice["message"]["content"] == "b" * len(choice["logprobs"]["content"]) == "b" * size

    assert_linear(work, 1_000)


def test_an_odd_index_is_taken_for_the_first() -> None:
    event = event_of(chunk({"index": None, "delta": {"content": "<think>x</think>y"}}))
    assert texts(strip([event]))[0] == "y"


MALFORMED: list[Json] = [
    {"delta": "<odd"},
    {"delta": ["<"]},
    {"delta": 5, "odd": "<"},
    {"message": "<odd"},
    {"index": ["<"], "delta": {}},
    {"text": "", "logprobs": {"tokens": 5, "odd": "<"}},
    {"text": "", "logprobs": "<"},
    {"text": "", "logprobs": {"tokens": ["", 5], "odd": "<"}},
    {"delta": {"content": ""}, "logprobs": {"content": [{"token": 5, "odd": "<"}]}},
    {"delta": {"content": 5}, "odd": "<"},
    {"delta": {"content": {"a": "<"}}},
]


@pytest.mark.parametrize("part", MALFORMED)
def test_what_is_malformed_passes_untouched(part: Json) -> None:
    event = event_of(chunk(part))
    assert strip([event]) == [event]
    thought = {"index": 1, "delta": {"content": "<think>x</think>y"}}
    (passed,) = strip([event_of({"choices": [part, thought]})])
    assert (passed.chunk or {})["choices"][0] == part


@pytest.mark.parametrize(("broken", "is_told"), [(rb'"\x"', False), (b'"\xff"', False), (rb'"\x<"', True)])
def test_broken_text_goes_with_its_thought_unless_it_could_end_it(broken: bytes, is_told: bool) -> None:
    think = think_filter()
    assert think.feed([compact_event("<think>")]) == []
    raw = compact_event("#").raw.replace(b'"#"', broken)
    if is_told:
        with pytest.raises(UpstreamProtocolError, match="invalid JSON"):
            think.feed([Event(raw)])
    else:
        assert think.feed([Event(raw)]) == []
