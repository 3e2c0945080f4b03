"""Spans as OpenTelemetry's protocol has them: OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/).

Text is written here and not objects for an encoder, which would take three times as long; what comes again and again,
names of models for instance, is encoded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

Value = str | int | float | bool | None

_NO_ERROR = '"status":{}'


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


_text = lru_cache(maxsize=1024)(encode_basestring_ascii)


def encode_span(span: Span) -> str:
    """Return a span as JSON."""
    parent = f'"parentSpanId":"{span.parent_id}",' if span.parent_id else ""
    status = f'"status":{{"code":2,"message":{_text(span.error)}}}' if span.error else _NO_ERROR
    return (
        f'{{"traceId":"{span.trace_id}","spanId":"{span.span_id}",{parent}"name":{_text(span.name)},"kind":{span.kind:d},'
        f'"startTimeUnixNano":"{span.begun_ns}","endTimeUnixNano":"{max(span.begun_ns, span.ended_ns)}",'
        f'"attributes":[{_attributes(span.attributes)}],{status}}}'
    )


def encode_request(spans: Iterable[str], resource: Mapping[str, Value]) -> bytes:
    """Return the body of a request with spans, which are JSON already; `resource` says whose they are."""
    head = f'{{"resourceSpans":[{{"resource":{{"attributes":[{_attributes(resource)}]}},'
    return f'{head}"scopeSpans":[{{"scope":{{"name":"argoproxy"}},"spans":[{",".join(spans)}]}}]}}]}}'.encode()


def _attributes(values: Mapping[str, Value]) -> str:
    return ",".join(
        [_attribute(key, value) for key, value in values.items() if value is not None and value != ""]  # noqa: PLC1901
    )


def _attribute(key: str, value: Value) -> str:
    """Return an attribute with the type of its value; 64-bit numbers are texts in JSON."""
    if isinstance(value, str):
        return _text_attribute(key, value) if len(value) < _LONGEST_KEPT else _make_text_attribute(key, value)
    if isinstance(value, bool):
        typed = f'"boolValue":{"true" if value else "false"}'
    elif isinstance(value, int):
        typed = f'"intValue":"{value}"'
    else:
        typed = f'"doubleValue":{value!r}' if value is not None and math.isfinite(value) else '"doubleValue":0.0'
    return f'{{"key":"{key}","value":{{{typed}}}}}'


def _make_text_attribute(key: str, value: str) -> str:
    return f'{{"key":"{key}","value":{{"stringValue":{encode_basestring_ascii(value)}}}}}'


#: Ids and long texts would only push the others out of what is remembered.
_LONGEST_KEPT = 32
_text_attribute = lru_cache(maxsize=1024)(_make_text_attribute)
