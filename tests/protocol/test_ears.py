from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol import ears
from argoproxy.protocol.ears import ByteEar, EventEar
from argoproxy.protocol.sse import DONE, Batch, Document, Event
from tests.cuts import cuts

CHUNKS = [{"id": "i", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b")]
MADE = {
    "id": "i",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": None}],
}
STREAM = b": hm\n\n" + b"".join(Event.of(chunk).raw for chunk in CHUNKS)
EVENTS = (("Content-Type", "text/event-stream; charset=utf-8"),)
JSON = (("Content-Type", "application/json"),)


def heard(*batches: Batch) -> Any:
    ear = EventEar()
    for batch in batches:
        assert ear.feed(batch) is batch
    assert ear.finish() == []
    return ear.heard()


def test_chunks_are_put_together() -> None:
    assert heard([Event(b": hm\n\n")], [Event.of(CHUNKS[0])], [], [Event.of(CHUNKS[1]), DONE]) == MADE
    assert heard([Event(b"data: {broken\n\n"), Event.of(CHUNKS[0])])["choices"][0]["message"]["content"] == "a"


def test_a_document_is_taken_as_it_is() -> None:
    assert heard([Document(b'{"a": 1}')]) == {"a": 1}
    assert heard() is None
    assert heard([DONE]) is None


def test_what_is_too_long_leaves_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ears, "LONGEST_HEARD", 10)
    assert heard([Document(b'{"a":  "12345"}')]) == {"bytes": 15}
    for headers in (JSON, EVENTS):
        ear = ByteEar(headers)
        for piece in (b"data: {", b'"choices": []}\n\n'):
            ear.hear(piece)
        assert ear.heard() == {"bytes": 23}


@pytest.mark.parametrize("pieces", list(cuts(STREAM)))
def test_bytes_of_events_are_put_together_in_any_cut(pieces: list[bytes]) -> None:
    ear = ByteEar(EVENTS)
    for piece in pieces:
        ear.hear(piece)
    assert ear.heard() == MADE


@pytest.mark.parametrize(
    ("headers", "text", "told"),
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
def test_bytes_that_are_no_events(headers: Any, text: bytes, told: Any) -> None:
    ear = ByteEar(headers)
    ear.hear(text)
    assert ear.heard() == told
