from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.protocol.stream.output_meter import DELTAS, TEXTS, AnswerMeter, OutputMeter
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event

TEXT = "seven words that the upstream has said. "


def event(**delta: Any) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return Event(b"data: " + json.dumps({"id": "x", "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n")


def tokens_of(*batches: Batch) -> int:
    meter = OutputMeter()
    count(meter, *batches)
    return meter.tokens


def count(meter: OutputMeter, *batches: Batch) -> None:
    step = AnswerMeter(lambda usage: None, meter)
    for batch in batches:
        assert step.feed(batch) is batch
    assert step.finish() == []


@pytest.mark.parametrize(
    "delta",
    [
        {"content": TEXT},
        {"content": None, "reasoning_content": TEXT},
        {"content": "", "reasoning": TEXT},
        {"tool_calls": [{"index": 0, "function": {"arguments": TEXT}}]},
        {"refusal": TEXT},
    ],
)
def test_what_a_model_says_is_counted_wherever_it_stands(delta: dict[str, Any]) -> None:
    assert tokens_of([event(**delta)], [], [event(**delta)]) == 2 * len(TEXT) // 4


def test_a_run_is_counted_at_once_and_a_document_if_it_is_needed() -> None:
    run = TextRun(event(content=TEXT).raw * 3)
    assert tokens_of([run]) == 3 * len(TEXT) // 4
    document = Document(json.dumps({"choices": [{"message": {"content": TEXT + '\\ "x"'}}]}).encode())
    assert tokens_of([document]) == -(-(len(TEXT) + 8) // 4)


def test_events_without_text_count_nothing() -> None:
    assert tokens_of([event(role="assistant", content=""), event(), Event(b"data: [DONE]\n\n")]) == 0


def test_it_counts_on_from_the_usage() -> None:
    meter = OutputMeter()
    count(meter, [event(content=TEXT), Document(b'{"content": "abc"}')])
    meter.reset()
    assert meter.tokens == 0
    count(meter, [event(content="abcde")])
    assert meter.tokens == 2


def test_a_usage_is_recorded_and_what_it_tells_is_not_counted_too() -> None:
    meter, usages = OutputMeter(), list[Any]()

    def record(usage: Any) -> None:
        usages.append(usage)
        meter.reset()

    step = AnswerMeter(record, meter)
    told = b'data: {"choices":[{"delta":{"content":"abcdefgh"}}],"usage":{"completion_tokens":7}}\n\n'
    step.feed([event(content=TEXT), Event(told)])
    assert (usages, meter.tokens) == ([{"completion_tokens": 7}], 0)
    step.feed([Event(told.replace(b'{"completion_tokens":7}', b"null"))])
    assert (len(usages), meter.tokens) == (1, 2)


def test_text_that_is_nothing_else_is_counted_whole() -> None:
    meter = OutputMeter()
    meter.count_whole([Event(b"abcd"), Event(b"e")])
    assert meter.tokens == 2


def test_bytes_that_are_passed_on_are_measured() -> None:
    meter = OutputMeter()
    pieces = [b'data: {"type": "x", "delta": {"type": "text_delta", "text": "abcd"}}\n\n', b"", b'{"thinking":"efgh"}']
    assert list(meter.measure(pieces, TEXTS)) == pieces
    assert meter.tokens == 2


def test_of_a_response_only_the_deltas_count() -> None:
    meter = OutputMeter()
    pieces = [b'data: {"type":"response.output_text.delta","delta":"abcd"}\n\n', b'data: {"text":"abcd"}\n\n']
    assert list(meter.measure(pieces, DELTAS)) == pieces
    assert meter.tokens == 1


def test_a_look_counts_what_has_passed_and_changes_nothing() -> None:
    meter = OutputMeter()
    count(meter, [event(content="12345")])
    assert (meter.peek(), meter.tokens) == (2, 2)
    count(meter, [Document(b'{"choices":[{"message":{"content":"12345678"}}]}')])
    assert meter.peek() == 2, "a document is read when its tokens are needed"
    assert meter.tokens == 4
