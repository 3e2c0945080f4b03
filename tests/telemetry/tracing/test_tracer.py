"""Spans made of outcomes: what clients choose is bounded, and can't spoil the spans of others."""

from __future__ import annotations

import json
from typing import Any

import certifi
import pytest

from argoproxy.errors import Ending
from argoproxy.telemetry.tracing.exporter import SpanExporter, SpanSource
from argoproxy.telemetry.tracing.otlp import encode_request
from argoproxy.telemetry.tracing.request_trace import LONGEST_NAME, AttemptTrace, RequestTrace, address_of
from argoproxy.telemetry.tracing.spans import RequestSpans
from argoproxy.telemetry.tracing.trace_parent import TraceParent
from argoproxy.telemetry.tracing.tracer import Tracer
from tests.support.collector import attributes_of
from tests.support.outcomes import outcome

HUGE = "m" * 1_000_000
URL = "http://upstream/v1/chat/completions"


class KeptSources(SpanExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(URL, {}, {}, lambda _result, _spans: None, certifi.where())
        self.sources: list[SpanSource] = []

    def put(self, source: SpanSource) -> None:
        self.sources.append(source)


def trace_of(*models: str) -> RequestTrace:
    """Return the trace of a request with an attempt for each model."""
    trace = RequestTrace("3" * 32, TraceParent("1" * 32, "2" * 16, is_sampled=True), is_sampled=True)
    for number, model in enumerate(models):
        said = (f"{number + 1:016x}", "openai", model, address_of(URL))
        trace.begin_attempt(AttemptTrace(*said, is_stream=False, begun_s=0.001 * number))
    return trace


def read_spans(trace: RequestTrace, **changed: Any) -> list[dict[str, Any]]:
    """Return the spans as a collector reads them, which is strict about UTF-8."""
    document = json.loads(encode_request(RequestSpans(trace, outcome(**changed)).write(), ""))
    json.dumps(document, ensure_ascii=False).encode()
    ((scope,),) = (resource["scopeSpans"] for resource in document["resourceSpans"])
    return list(scope["spans"])


def test_a_source_counts_its_spans_before_it_writes_them() -> None:
    exporter, trace = KeptSources(), trace_of("m1", "m2")
    Tracer(exporter).finish(trace, outcome())
    (source,) = exporter.sources
    assert source.count() == len(source.write()) == 3


def test_a_name_of_any_length_is_neither_sent_nor_kept_whole() -> None:
    exporter, trace = KeptSources(), trace_of(HUGE)
    Tracer(exporter).finish(trace, outcome(model=HUGE, path=HUGE, client_request_id=HUGE))
    (source,) = exporter.sources
    assert all(len(span) < 3 * LONGEST_NAME + 1500 for span in source.write())
    assert all(len(attempt.model) <= LONGEST_NAME for attempt in trace.attempts)
    assert isinstance(source, RequestSpans)
    assert all(len(str(value)) <= LONGEST_NAME for value in source.told)


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb", 'quote" \\ \n\x00\x7f', "é漢😀"])
def test_any_name_is_readable_to_a_strict_collector(name: str) -> None:
    request, attempt = read_spans(trace_of(name), model=name)
    expected = name.encode("utf-8", "replace").decode()
    assert attributes_of(request)["gen_ai.request.model"] == attributes_of(attempt)["gen_ai.request.model"] == expected
    assert attempt["name"] == f"chat {expected}"


def test_a_trace_that_begins_here_has_the_id_of_its_request() -> None:
    request_id = "0123456789abcdef" * 2
    trace = Tracer(KeptSources()).begin(request_id, "")
    assert (trace.trace_id, trace.is_sampled) == (request_id, True)
    assert Tracer(KeptSources()).begin(request_id, f"00-{'1' * 32}-{'2' * 16}-01").trace_id == "1" * 32


def test_no_two_spans_of_a_trace_have_the_same_id() -> None:
    trace = RequestTrace("".join(f"{number:02x}" for number in range(16)), None, is_sampled=True)
    for _ in range(3):
        trace.begin_attempt(AttemptTrace(trace.next_id(), "openai", "m", address_of(URL), is_stream=False, begun_s=0.0))
    assert len({span["spanId"] for span in read_spans(trace)}) == 4


def test_attempts_follow_one_another_within_their_request() -> None:
    request, first, second = read_spans(trace_of("m1", "m2"), total_s=1.0, prompt_tokens=3, completion_tokens=4)
    assert request["parentSpanId"] == "2" * 16
    assert first["parentSpanId"] == second["parentSpanId"] == request["spanId"]
    assert first["endTimeUnixNano"] == second["startTimeUnixNano"]
    assert second["endTimeUnixNano"] == request["endTimeUnixNano"]
    assert "gen_ai.usage.output_tokens" not in attributes_of(first)
    assert attributes_of(second)["gen_ai.usage.output_tokens"] == 4


@pytest.mark.parametrize(
    ("changed", "is_failed"),
    [
        ({}, False),
        ({"status": 400, "ending": Ending.REFUSED, "code": "invalid"}, False),
        ({"status": 502, "ending": Ending.UPSTREAM_ERROR, "code": "upstream_error"}, True),
        ({"status": 200, "ending": Ending.UPSTREAM_BROKEN, "code": None}, True),
    ],
)
def test_a_request_failed_if_the_server_did(changed: dict[str, Any], is_failed: bool) -> None:
    (request,) = read_spans(trace_of(), **changed)
    assert (request["status"].get("code") == 2) is is_failed
