from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.stream.chunk_fields import ModelNameFilter, UsageMeter, UsageRemover
from argoproxy.protocol.stream.sse import DONE, Document, Event

USAGE = {"prompt_tokens": 1}
EMPTY = {"id": "i", "object": "chat.completion.chunk", "choices": []}
ALONE = {**EMPTY, "usage": USAGE}


def test_the_last_usage_counts() -> None:
    recorded: list[Any] = []
    meter, batch = (
        UsageMeter(recorded.append),
        [Event.of({"usage": {"a": 1}}), Event.of({"usage": None}), Event.of(ALONE)],
    )
    assert meter.feed(batch) is batch
    assert meter.finish() == []
    assert recorded == [{"a": 1}, USAGE]


def test_usage_is_recorded_from_the_top_level_only() -> None:
    noted: list[object] = []
    meter = UsageMeter(noted.append)
    batch = [
        Event(b'data: {"usage":null}\n\n'),
        Event(b'data: {"text":"the \\"usage\\": {"}\n\n'),
        Event(b'data: {"choices":[{"usage":{"a":1}}]}\n\n'),
        Event(b'data: {"usage": {"prompt_tokens": 1}}\n\n'),
        Event(b"data: 1\n\n"),
    ]
    assert meter.feed(batch) is batch
    assert meter.finish() == []
    assert noted == [{"prompt_tokens": 1}]


@pytest.mark.parametrize(
    ("chunk", "kept"),
    [
        (ALONE, None),
        ({**ALONE, "choices": None}, None),
        (
            {**ALONE, "citations": ["a"]},
            {"id": "i", "object": "chat.completion.chunk", "choices": [], "citations": ["a"]},
        ),
        ({"choices": [{"index": 0}], "usage": USAGE}, {"choices": [{"index": 0}], "usage": USAGE}),
        ({"choices": [], "x": {"usage": {}}}, {"choices": [], "x": {"usage": {}}}),
        ({"choices": [], "usage": None}, {"choices": [], "usage": None}),
    ],
)
def test_usage_that_was_not_requested_is_removed(chunk: Any, kept: Any) -> None:
    assert [event.chunk for event in UsageRemover().feed([Event.of(chunk)])] == ([] if kept is None else [kept])


def test_other_events_pass_in_the_same_batch() -> None:
    withheld, batch = UsageRemover(), [Event(b": hm\n\n"), Document(b'{"choices": [], "usage": {"a": 1}}'), DONE]
    assert withheld.feed(batch) is batch
    assert withheld.finish() == []


CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"theirs","choices":[{"index":0}]}\n\n'


def named(event: Event, name: str = "asked") -> Event:
    (new,) = ModelNameFilter(name).feed([event])
    return new


def test_the_name_alone_changes() -> None:
    assert named(Event(CHUNK)).raw == CHUNK.replace(b'"theirs"', b'"asked"')
    spaced = b'{ "id" : "c" ,\n "model" : "theirs" , "x" : 1.0, "choices" : [] }'
    new = named(Document(spaced))
    assert isinstance(new, Document)
    assert new.raw == spaced.replace(b'"theirs"', b'"asked"')
    assert named(Event(CHUNK), 'a"\\\ud83d\ude00é').chunk == {**(Event(CHUNK).chunk or {}), "model": 'a"\\\U0001f600é'}


@pytest.mark.parametrize(
    "raw",
    [
        DONE.raw,
        b": ping\n\n",
        b'data: {"ping": 1}\n\n',
        CHUNK.replace(b"theirs", b"asked"),
        b'data: {"model":"asked"}\n\n',
    ],
)
def test_what_names_no_other_model_is_the_same_event(raw: bytes) -> None:
    event = Event(raw)
    assert named(event) is event


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": []},
        {"choices": [], "model": None},
        {"choices": [], "model": 7},
        {"choices": [{"delta": {"content": '"model":"x"'}}], "model": "theirs"},
        {"model": 'with "quotes"', "choices": []},
        {"model": {"name": "a"}, "data": []},
        {"odd": {"model": "inner"}, "model": "outer"},
        {"object": "list", "data": [], "model": "theirs"},
    ],
)
def test_names_are_found_wherever_they_stand(chunk: dict[str, Any]) -> None:
    assert named(Event.of(chunk)).chunk == {**chunk, "model": "asked"}
    assert named(Document(json.dumps(chunk).encode())).chunk == {**chunk, "model": "asked"}


values = st.none() | st.integers() | st.text() | st.just("model") | st.just('"model":"x"')


@given(
    st.dictionaries(st.sampled_from(["id", "model", "object", "x", "choices", "usage"]), values), st.text(min_size=1)
)
def test_nothing_else_changes_in_any_document(document: dict[str, Any], name: str) -> None:
    for written in (json.dumps(document), json.dumps(document, ensure_ascii=False, separators=(",", ":"))):
        new = named(Document(written.encode("utf-8", "surrogatepass")), name).chunk
        is_named = "model" in document or "choices" in document
        assert new == ({**document, "model": name} if is_named else document)


def test_nothing_is_held_back() -> None:
    assert ModelNameFilter("a").finish() == []


def test_a_usage_is_noted_with_its_tier_of_service() -> None:
    noted: list[Any] = []
    UsageMeter(noted.append).feed([Document(b'{"usage":{"prompt_tokens":1},"service_tier":"flex"}')])
    UsageMeter(noted.append).feed([Document(b'{"usage":{"prompt_tokens":1},"service_tier":null}')])
    assert noted == [{"prompt_tokens": 1, "service_tier": "flex"}, {"prompt_tokens": 1}]
