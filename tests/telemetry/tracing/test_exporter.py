"""The queue of spans, against a collector that answers late, badly, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import certifi
import pytest

from argoproxy.telemetry.tracing.exporter import BATCH, MOST_QUEUED, SpanExporter
from argoproxy.telemetry.tracing.otlp import SpanKind, encode_attributes, encode_span, make_frame
from argoproxy.telemetry.tracing.request_trace import new_id
from tests.support.collector import Collector, collector
from tests.support.processes import eventually, free_port


@pytest.fixture
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


class Sending:
    """An exporter, and what it has counted."""

    def __init__(self, url: str) -> None:
        self.counted: Counter[str] = Counter()
        resource = {"service.name": "argoproxy"}
        self.exporter = SpanExporter(f"{url}/v1/traces", {"X-Key": "k"}, resource, self.count, certifi.where())

    def count(self, result: str, spans: int) -> None:
        self.counted[result] += spans


def new_trace_id() -> str:
    return new_id() + new_id()


class Spans:
    """A SpanSource of spans that are alike but for their ids."""

    def __init__(self, trace_id: str, count: int = 1) -> None:
        self._trace_id, self._count = trace_id, count

    def count(self) -> int:
        return self._count

    def write(self) -> list[str]:
        frame, own = make_frame("chat m1", SpanKind.CLIENT, "", {}), encode_attributes({"a": 1, "b": "", "c": None})
        ids = [(self._trace_id, new_id(), "") for _ in range(self._count)]
        return [encode_span(frame, each, (10**18, 10**18 + 1), own) for each in ids]


class FaultySpans(Spans):
    """Spans that can't be written."""

    def write(self) -> list[str]:
        raise ValueError


@pytest.fixture
def sending(receiver: Collector) -> Iterator[Sending]:
    made = Sending(receiver.url)
    yield made
    made.exporter.close()


def test_all_spans_arrive_once_and_are_counted(sending: Sending, receiver: Collector) -> None:
    trace_id, count = new_trace_id(), 2 * BATCH + 1
    for _ in range(count):
        sending.exporter.put(Spans(trace_id))
    assert len({span["spanId"] for span in receiver.trace(trace_id, count)}) == count
    assert all(headers["x-key"] == "k" for headers in receiver.headers)
    eventually(lambda: sending.counted == {"sent": count})
    assert receiver.spans[0]["attributes"] == [{"key": "a", "value": {"intValue": "1"}}]


def test_what_may_pass_is_tried_again(sending: Sending, receiver: Collector) -> None:
    receiver.statuses = [503]
    trace_id = new_trace_id()
    sending.exporter.put(Spans(trace_id))
    receiver.trace(trace_id, 1)
    eventually(lambda: sending.counted == {"sent": 1})


def test_what_is_refused_for_good_is_dropped_and_the_next_is_sent(sending: Sending, receiver: Collector) -> None:
    receiver.statuses = [400]
    sending.exporter.put(Spans(new_trace_id()))
    eventually(lambda: sending.counted == {"dropped": 1})
    trace_id = new_trace_id()
    sending.exporter.put(Spans(trace_id))
    receiver.trace(trace_id, 1)


@pytest.mark.parametrize(
    ("answer", "dropped"),
    [
        ({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}}, 2),
        ({"partialSuccess": {"rejectedSpans": 2}}, 2),
        ({"partialSuccess": {"rejectedSpans": "99"}}, 3),
        ({"partialSuccess": {"rejectedSpans": "-1"}}, 0),
        ({"partialSuccess": {"errorMessage": "a warning"}}, 0),
        ({"partialSuccess": {"rejectedSpans": "some"}}, 0),
        ({"partialSuccess": None}, 0),
        ([], 0),
    ],
)
def test_spans_that_a_collector_rejects_are_not_counted_as_sent(
    sending: Sending, receiver: Collector, answer: object, dropped: int
) -> None:
    receiver.answer = answer
    sending.exporter.put(Spans(new_trace_id(), 3))
    sending.exporter.close()  # which sends them at once
    eventually(lambda: sending.counted.total() == 3)
    assert +sending.counted == +Counter(sent=3 - dropped, dropped=dropped)


def test_what_does_not_fit_is_dropped_at_once(sending: Sending, receiver: Collector) -> None:
    receiver.may_answer.clear()
    given = 3 * MOST_QUEUED
    for _ in range(given):
        sending.exporter.put(Spans(new_trace_id()))
    assert given - MOST_QUEUED - BATCH <= sending.counted["dropped"] < given
    receiver.may_answer.set()
    eventually(lambda: sending.counted.total() == given)


def test_spans_that_cannot_be_written_take_none_of_others_with_them(sending: Sending, receiver: Collector) -> None:
    trace_id = new_trace_id()
    sending.exporter.put(FaultySpans(trace_id, 2))
    sending.exporter.put(Spans(trace_id))
    receiver.trace(trace_id, 1)
    eventually(lambda: sending.counted == {"dropped": 2, "sent": 1})


def test_a_collector_that_is_away_costs_its_spans_only() -> None:
    sending = Sending(f"http://127.0.0.1:{free_port()}")
    sending.exporter.put(Spans(new_trace_id()))
    sending.exporter.close()
    eventually(lambda: sending.counted == {"dropped": 1})
    sending.exporter.put(Spans(new_trace_id()))
    assert sending.counted == {"dropped": 2}
