"""Makes the spans of a request from its outcome, when it has ended: one for the request, one for each attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from random import random
from typing import NamedTuple
from urllib.parse import urlsplit

from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.prices.money import to_number
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.tracing import conventions as names
from argoproxy.telemetry.tracing.exporter import SpanExporter, SpanSource
from argoproxy.telemetry.tracing.otlp import Span, SpanKind, Value, encode_attributes
from argoproxy.telemetry.tracing.request_trace import LONGEST_NAME, AttemptTrace, RequestTrace
from argoproxy.telemetry.tracing.trace_parent import read_trace_parent

#: From this status on a span of a server counts as failed (conventions for HTTP spans); of a client, from 400 on.
_SERVER_ERROR = 500
PORTS = {"http": 80, "https": 443}


_OF_REQUESTS = (
    names.HTTP_METHOD,
    names.HTTP_ROUTE,
    names.HTTP_STATUS,
    names.ENDING,
    names.ERROR_TYPE,
    names.REQUEST_MODEL,
    names.KEY,
    names.CACHE,
)
_OF_ATTEMPTS = (
    names.OPERATION,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.IS_STREAM,
    names.REQUEST_MODEL,
    names.PROVIDER,
    names.HTTP_STATUS,
    names.ERROR_TYPE,
    names.ERROR_CODE,
)


class Address(NamedTuple):
    """Host and port of a server; None where it has none."""

    host: str
    port: int | None


class Tracer:
    """Begins the trace of a request, and gives its spans to the exporter at the end."""

    def __init__(self, exporter: SpanExporter | None, sample: float = 1.0) -> None:
        """`sample` is the part of the requests to be recorded of which no other program has decided that. Without an
        exporter only the ids of traces are known, for the log."""
        self._exporter, self._sample = exporter, sample

    def begin(self, headers: Headers) -> RequestTrace:
        """Return the trace of a request with these headers."""
        parent = read_trace_parent(headers)
        is_sampled = parent.is_sampled if parent else self._sample >= 1 or random() < self._sample  # noqa: S311
        return RequestTrace(parent, is_sampled=is_sampled and self._exporter is not None)

    def finish(self, trace: RequestTrace, outcome: Outcome) -> None:
        """Export what became of a request."""
        if self._exporter and trace.is_sampled:
            if len(outcome.model) > LONGEST_NAME:
                outcome = replace(outcome, model=outcome.model[:LONGEST_NAME])
            self._exporter.put(SpanSource(1 + len(trace.attempts), partial(make_spans, trace, outcome)))

    def close(self) -> None:
        """Send what is left, in the background."""
        if self._exporter:
            self._exporter.close()


def make_spans(trace: RequestTrace, outcome: Outcome) -> Iterator[Span]:
    """Yield the span of a request, then those of its attempts."""
    ends_ns = trace.begun_ns + _to_ns(outcome.total_s)
    code = outcome.code or ("" if outcome.ending == "complete" else str(outcome.ending))
    is_failed = outcome.status >= _SERVER_ERROR or (bool(code) and outcome.status < 400)
    yield Span(
        name=f"{outcome.method} {outcome.route}",
        kind=SpanKind.SERVER,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=trace.parent.span_id if trace.parent else "",
        begun_ns=trace.begun_ns,
        ended_ns=ends_ns,
        error=code if is_failed else "",
        attributes=_describe_request(outcome, code),
    )
    for position, attempt in enumerate(trace.attempts):
        following = trace.attempts[position + 1 : position + 2]
        ended_s = attempt.failed_s if attempt.failed_s is not None else following[0].begun_s if following else None
        operation = names.operation_of(outcome.route)
        yield Span(
            name=f"{operation} {attempt.model}".strip() or f"{outcome.method} {attempt.upstream}",
            kind=SpanKind.CLIENT,
            trace_id=trace.trace_id,
            span_id=attempt.span_id,
            parent_id=trace.span_id,
            begun_ns=trace.begun_ns + _to_ns(attempt.begun_s),
            ended_ns=ends_ns if ended_s is None else trace.begun_ns + _to_ns(ended_s),
            error=attempt.failure,
            attributes=_describe_attempt(attempt, operation, outcome if not following else None),
        )


def _describe_request(outcome: Outcome, code: str) -> str:
    recurring = _request_attributes(
        outcome.method,
        outcome.route,
        outcome.status,
        str(outcome.ending),
        code,
        outcome.model,
        outcome.key,
        outcome.cache,
    )
    own: dict[str, Value] = {names.REQUEST_ID: outcome.id, names.QUEUE_S: outcome.queue_s}
    if outcome.return_mode == "stream":
        own[names.FIRST_CHUNK_S] = outcome.first_byte_s
    if outcome.cost_nanos is not None:
        own[names.COST] = to_number(outcome.cost_nanos)
    return f"{recurring},{encode_attributes(own)}"


def _describe_attempt(attempt: AttemptTrace, operation: str, outcome: Outcome | None) -> str:
    """Return the attributes of an attempt; `outcome` is that of the request if no other attempt followed."""
    said = (attempt.model, attempt.upstream, attempt.status, attempt.failure, attempt.code)
    recurring = _attempt_attributes(operation, *_address_of(attempt.url), attempt.is_stream, *said)
    if outcome is None or attempt.failure or outcome.completion_tokens is None:
        return recurring
    own = {names.INPUT_TOKENS: outcome.prompt_tokens, names.OUTPUT_TOKENS: outcome.completion_tokens}
    return f"{recurring},{encode_attributes(own)}"


@lru_cache(maxsize=512)
def _request_attributes(*values: Value) -> str:
    """Return what comes again and again: it is encoded once."""
    return encode_attributes(dict(zip(_OF_REQUESTS, values, strict=True)))


@lru_cache(maxsize=512)
def _attempt_attributes(*values: Value) -> str:
    return encode_attributes(dict(zip(_OF_ATTEMPTS, values, strict=True)))


@lru_cache(maxsize=64)
def _address_of(url: str) -> Address:
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or PORTS.get(parts.scheme))


def _to_ns(seconds: float) -> int:
    return int(seconds * 1e9)
