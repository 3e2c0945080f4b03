"""Spans as OpenTelemetry's protocol has them: OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from argoproxy.protocol.json_text import Json, dumps

Value = str | int | float | bool | None

_STATUS_ERROR = 2


class SpanKind(IntEnum):
    """On which side of a request a span stands."""

    SERVER = 2
    CLIENT = 3


class Span(NamedTuple):
    """Something that took time; times are nanoseconds of Unix time, `error` is "" for what went well. Attributes that
    are None or "" are not sent."""

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    error: str
    attributes: Mapping[str, Value]


def encode_spans(spans: Sequence[Span], resource: Mapping[str, Value]) -> bytes:
    """Return the body of a request with spans; `resource` says whose they are."""
    scope = {"scope": {"name": "argoproxy"}, "spans": [_encode_span(span) for span in spans]}
    return dumps({"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]})


def _encode_span(span: Span) -> Json:
    encoded: Json = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.begun_ns),
        "endTimeUnixNano": str(max(span.begun_ns, span.ended_ns)),
        "attributes": _attributes(span.attributes),
        "status": {"code": _STATUS_ERROR, "message": span.error} if span.error else {},
    }
    return {**encoded, "parentSpanId": span.parent_id} if span.parent_id else encoded


def _attributes(values: Mapping[str, Value]) -> Iterable[Json]:
    return [{"key": key, "value": _encode(value)} for key, value in values.items() if value not in (None, "")]


def _encode(value: Value) -> Json:
    """Return a value with its type; 64-bit numbers are texts in JSON."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
