"""Begins the trace of a request, and has its spans sent when it has ended."""

from __future__ import annotations

from random import random

from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.tracing.exporter import SpanExporter
from argoproxy.telemetry.tracing.request_trace import RequestTrace
from argoproxy.telemetry.tracing.spans import RequestSpans
from argoproxy.telemetry.tracing.trace_parent import read_trace_parent


class Tracer:
    """Begins the trace of a request, and gives its spans to the exporter at the end."""

    def __init__(self, exporter: SpanExporter | None, sample: float = 1.0) -> None:
        """`sample` is the part of the requests to be recorded of which no other program has decided that. Without an
        exporter only the ids of traces are known, for the log."""
        self._exporter, self._sample = exporter, sample

    def begin(self, request_id: str, parent_text: str) -> RequestTrace:
        """Return the trace of a request; `parent_text` is the value of its header `traceparent`, "" without one."""
        parent = read_trace_parent(parent_text) if parent_text else None
        is_sampled = parent.is_sampled if parent else self._sample >= 1 or random() < self._sample  # noqa: S311
        return RequestTrace(request_id, parent, is_sampled=is_sampled and self._exporter is not None)

    def finish(self, trace: RequestTrace, outcome: Outcome) -> None:
        """Export what became of a request that is recorded."""
        if self._exporter:
            self._exporter.put(RequestSpans(trace, outcome))

    def close(self) -> None:
        """Send what is left, in the background."""
        if self._exporter:
            self._exporter.close()
