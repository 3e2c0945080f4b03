"""Makes the spans of a request from its outcome, when it has ended: one for the request, one for each attempt."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from random import random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from argoproxy.errors import Ending
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.prices.money import to_number
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.tracing import conventions as names
from argoproxy.telemetry.tracing.exporter import SpanExporter, SpanSource
from argoproxy.telemetry.tracing.otlp import Span, SpanFrame, SpanKind, Value, encode_attributes, make_frame
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


def make_spans(trace: RequestTrace, outcome: Outcome) -> list[Span]:
    """Return the span of a request, then those of its attempts."""
    begun_ns, own = trace.begun_ns, _describe_request(outcome)
    ended_ns, code = begun_ns + int(outcome.total_s * 1e9), outcome.code or ""
    said = (outcome.method, outcome.route, outcome.status, outcome.ending, code)
    frame = _frame_request(*said, outcome.model, outcome.key, outcome.cache)
    parent_id = trace.parent.span_id if trace.parent else ""
    spans, following_s = [Span(frame, trace.trace_id, trace.span_id, parent_id, begun_ns, ended_ns, own)], None
    for attempt in reversed(trace.attempts):
        end_s = following_s if attempt.failed_s is None else attempt.failed_s
        own = _describe_tokens(outcome) if following_s is None and not attempt.failure else ""
        attempt_ended_ns = ended_ns if end_s is None else begun_ns + int(end_s * 1e9)
        attempt_begun_ns = begun_ns + int(attempt.begun_s * 1e9)
        ids = (trace.trace_id, attempt.span_id, trace.span_id)
        spans.insert(1, Span(_frame(attempt, outcome), *ids, attempt_begun_ns, attempt_ended_ns, own))
        following_s = attempt.begun_s
    return spans


def _frame(attempt: AttemptTrace, outcome: Outcome) -> SpanFrame:
    said = (outcome.method, outcome.route, _address_of(attempt.url), attempt.is_stream, attempt.model, attempt.upstream)
    return _frame_attempt(*said, attempt.status, attempt.failure, attempt.code)


def _describe_request(outcome: Outcome) -> str:
    """Return the attributes of this request alone."""
    own: dict[str, Value] = {names.REQUEST_ID: outcome.id}
    if outcome.queue_s is not None:
        own[names.QUEUE_S] = outcome.queue_s
    if outcome.return_mode == "stream":
        own[names.FIRST_CHUNK_S] = outcome.first_byte_s
    if outcome.cost_nanos is not None:
        own[names.COST] = to_number(outcome.cost_nanos)
    return encode_attributes(own)


def _describe_tokens(outcome: Outcome) -> str:
    if outcome.completion_tokens is None:
        return ""
    return _encode_tokens(outcome.prompt_tokens, outcome.completion_tokens)


@lru_cache(maxsize=512)
def _encode_tokens(prompt: int | None, completion: int) -> str:
    return encode_attributes({names.INPUT_TOKENS: prompt, names.OUTPUT_TOKENS: completion})


@lru_cache(maxsize=512)
def _frame_request(*said: Any) -> SpanFrame:
    """Return what requests have in common that are alike: it is encoded once."""
    method, route, status, ending, code, model, key, cache = said
    code = code or ("" if ending is Ending.COMPLETE else str(ending))
    is_failed = status >= _SERVER_ERROR or (bool(code) and status < 400)
    values = (method, route, status, str(ending), code, model, key, cache)
    attributes = dict(zip(_OF_REQUESTS, values, strict=True))
    return make_frame(f"{method} {route}", SpanKind.SERVER, code if is_failed else "", attributes)


@lru_cache(maxsize=512)
def _frame_attempt(*said: Any) -> SpanFrame:
    """Return what attempts have in common that are alike."""
    method, route, address, is_stream, model, upstream, status, failure, code = said
    operation = names.operation_of(route)
    values = (operation, *address, is_stream, model, upstream, status, failure, code)
    name = f"{operation} {model}".strip() or f"{method} {upstream}"
    return make_frame(name, SpanKind.CLIENT, failure, dict(zip(_OF_ATTEMPTS, values, strict=True)))


@lru_cache(maxsize=64)
def _address_of(url: str) -> Address:
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or PORTS.get(parts.scheme))
