from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.telemetry.journal import recorders
from argoproxy.telemetry.journal.recorders import ByteRecorder, EventRecorder, FilteredRecorder, SizeAndUsageRecorder
from tests.support.cuts import cuts

CHUNKS = [{"id": "i", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b")]
MADE = {
    "id": "i",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": None}],
}
STREAM = b": hm\n\n" + b"".join(Event.of(chunk).raw for chunk in CHUNKS)
EVENTS = (("Content-Type", "text/event-stream; charset=utf-8"),)
JSON = (("Content-Type", "application/json"),)


def record(*batches: Batch) -> Any:
    recorder = EventRecorder()
    for batch in batches:
        assert recorder.feed(batch) is batch
    assert recorder.finish() == []
    return recorder.result()


def test_chunks_are_put_together() -> None:
    assert record([Event(b": hm\n\n")], [Event.of(CHUNKS[0])], [], [Event.of(CHUNKS[1]), DONE]) == MADE
    assert record([Event(b"data: {broken\n\n"), Event.of(CHUNKS[0])])["choices"][0]["message"]["content"] == "a"


def test_a_document_is_taken_as_it_is() -> None:
    assert record([Document(b'{"a": 1}')]) == {"a": 1}
    assert record() is None
    assert record([DONE]) is None


def test_what_is_too_long_leaves_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "MAX_RECORDED_BYTES", 10)
    assert record([Document(b'{"a":  "12345"}')]) == {"bytes": 15}
    for headers in (JSON, EVENTS):
        recorder = ByteRecorder(headers)
        for piece in (b"data: {", b'"choices": []}\n\n'):
            recorder.add(piece)
        assert recorder.result() == {"bytes": 23}


@pytest.mark.parametrize("pieces", list(cuts(STREAM)))
def test_bytes_of_events_are_put_together_in_any_cut(pieces: list[bytes]) -> None:
    recorder = ByteRecorder(EVENTS)
    for piece in pieces:
        recorder.add(piece)
    assert recorder.result() == MADE


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        (JSON, b'{"a": 1}', {"a": 1}),
        (JSON, b"[1]", {"text": "[1]"}),
        (JSON, b"<html>", {"text": "<html>"}),
        ((), "é".encode() + b"\xff", {"text": "é\ufffd"}),
        (JSON, b"", None),
        ((*JSON, ("Content-Encoding", "gzip")), b"\x1f\x8b", {"bytes": 2}),
        ((*EVENTS, ("Content-Encoding", "gzip")), b"\x1f\x8b", {"bytes": 2}),
    ],
)
def test_bytes_that_are_not_events(headers: Any, text: bytes, expected: Any) -> None:
    recorder = ByteRecorder(headers)
    recorder.add(text)
    assert recorder.result() == expected


def result_of(batch: Batch) -> Any:
    recorder = EventRecorder()
    recorder.feed(batch)
    return recorder.result()


def chunks(*texts: str) -> Batch:
    return [Event.of({"id": "i", "choices": [{"index": 0, "delta": {"content": text}}]}) for text in texts]


def text_of(document: Any) -> Any:
    return document and document["choices"][0]["message"]["content"]


#: What comes, and what goes on of it: the very batch, or another one.
PASSED: dict[str, list[tuple[Batch, Batch | None]]] = {
    "nothing": [],
    "all": [(chunks("a"), None), (chunks("b", "c"), None)],
    "all but the first": [(chunks("a"), []), (chunks("b"), None), (chunks("c"), None)],
    "all but the last": [(chunks("a"), None), (chunks("b"), None), (chunks("c"), [])],
    "other words": [(chunks("a"), None), (chunks("b"), chunks("x", "y")), (chunks("c"), None)],
}


@pytest.mark.parametrize("way", PASSED.values(), ids=PASSED.keys())
def test_the_recorder_behind_filters_has_what_came_through(way: list[tuple[Batch, Batch | None]]) -> None:
    before = EventRecorder()
    after = FilteredRecorder(before)
    came, went = list[Event](), list[Event]()
    for batch, changed in way:
        before.feed(batch)
        passed = batch if changed is None else changed
        assert after.feed(passed) is passed
        came, went = came + batch, went + passed
    assert (before.finish(), after.finish()) == ([], [])
    assert after.result() == result_of(went)
    assert (before.result(), after.result()) == (result_of(came), result_of(went))


def test_what_filters_add_at_the_end_is_recorded() -> None:
    before = EventRecorder()
    after = FilteredRecorder(before)
    batch = chunks("a")
    before.feed(batch)
    after.feed(batch)
    after.feed(chunks("rest"))
    assert (text_of(before.result()), text_of(after.result())) == ("a", "arest")


def test_what_filters_hold_back_is_not_recorded() -> None:
    before = EventRecorder()
    after = FilteredRecorder(before)
    for batch in (chunks("a"), chunks("b")):
        before.feed(batch)
        if not after.result():
            after.feed(batch)
    assert (text_of(before.result()), text_of(after.result())) == ("ab", "a")


def test_sizes_are_enough_for_some() -> None:
    recorder = SizeAndUsageRecorder()
    assert recorder.result() is None
    batch = [Event(b"12345"), Event.of({"usage": {"a": 1}})]
    assert recorder.feed(batch) is batch
    assert recorder.finish() == []
    assert recorder.result() == {"bytes": 5 + len(batch[1].raw), "usage": {"a": 1}}
    assert recorder.feed([Event(b"1")])
    assert recorder.result() == {"bytes": 6 + len(batch[1].raw), "usage": {"a": 1}}


def test_runs_of_events_are_put_together() -> None:
    part = b'data: {"id":"i","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}\n\n'
    run = TextRun(part.replace(b"@", b"a") + part.replace(b"@", b"b"))
    assert record([run]) == MADE
    sizes = SizeAndUsageRecorder()
    assert sizes.feed([run]) == [run]
    assert sizes.result() == {"bytes": len(run.raw)}
