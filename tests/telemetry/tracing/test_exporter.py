"""The queue of spans, against a collector that answers late, badly, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import certifi
import pytest

from argoproxy.telemetry.tracing.exporter import BATCH, MOST_QUEUED, SpanExporter, SpanSource
from argoproxy.telemetry.tracing.otlp import Span, SpanKind, encode_attributes, make_frame
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


def make_span(trace_id: str) -> SpanSource:
    return SpanSource(1, lambda: [_span(trace_id)])


def _span(trace_id: str) -> Span:
    frame = make_frame("chat m1", SpanKind.CLIENT, "", {})
    return Span(frame, trace_id, new_id(64), "", 10**18, 10**18 + 1, encode_attributes({"a": 1, "b": "", "c": None}))


@pytest.fixture
def sending(receiver: Collector) -> Iterator[Sending]:
    made = Sending(receiver.url)
    yield made
    made.exporter.close()


def test_all_spans_arrive_once_and_are_counted(sending: Sending, receiver: Collector) -> None:
    trace_id, count = new_id(128), 2 * BATCH + 1
    for _ in range(count):
        sending.exporter.put(make_span(trace_id))
    assert len({span["spanId"] for span in receiver.trace(trace_id, count)}) == count
    assert all(headers["x-key"] == "k" for headers in receiver.headers)
    eventually(lambda: sending.counted == {"sent": count})
    assert receiver.spans[0]["attributes"] == [{"key": "a", "value": {"intValue": "1"}}]


def test_what_may_pass_is_tried_again(sending: Sending, receiver: Collector) -> None:
    receiver.statuses = [503]
    trace_id = new_id(128)
    sending.exporter.put(make_span(trace_id))
    receiver.trace(trace_id, 1)
    eventually(lambda: sending.counted == {"sent": 1})


def test_what_is_refused_for_good_is_dropped_and_the_next_is_sent(sending: Sending, receiver: Collector) -> None:
    receiver.statuses = [400]
    sending.exporter.put(make_span(new_id(128)))
    eventually(lambda: sending.counted == {"dropped": 1})
    trace_id = new_id(128)
    sending.exporter.put(make_span(trace_id))
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
    trace_id = new_id(128)
    sending.exporter.put(SpanSource(3, lambda: [_span(trace_id) for _ in range(3)]))
    eventually(lambda: sending.counted.total() == 3)
    assert +sending.counted == +Counter(sent=3 - dropped, dropped=dropped)


def test_what_does_not_fit_is_dropped_at_once(sending: Sending, receiver: Collector) -> None:
    receiver.may_answer.clear()
    given = 3 * MOST_QUEUED
    for _ in range(given):
        sending.exporter.put(make_span(new_id(128)))
    assert given - MOST_QUEUED - BATCH <= sending.counted["dropped"] < given
    receiver.may_answer.set()
    eventually(lambda: sending.counted.total() == given)


def test_a_collector_that_is_away_costs_its_spans_only() -> None:
    sending = Sending(f"http://127.0.0.1:{free_port()}")
    sending.exporter.put(make_span(new_id(128)))
    sending.exporter.close()
    eventually(lambda: sending.counted == {"dropped": 1})
    sending.exporter.put(make_span(new_id(128)))
    assert sending.counted == {"dropped": 2}
