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
    """Something that took time; times are nanoseconds of Unix time, `error` is "" for what went well. `attributes` are
    those that `encode_attributes` returns."""

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    error: str
    attributes: str


def _encode_text(text: str) -> str:
    """Return a text as JSON. A lone surrogate, for which a collector may refuse all spans, becomes `?`."""
    return encode_basestring_ascii(text if text.isascii() else text.encode("utf-8", "replace").decode())


_text = lru_cache(maxsize=1024)(_encode_text)


def encode_span(span: Span) -> str:
    """Return a span as JSON."""
    parent = f'"parentSpanId":"{span.parent_id}",' if span.parent_id else ""
    status = f'"status":{{"code":2,"message":{_text(span.error)}}}' if span.error else _NO_ERROR
    return (
        f'{{"traceId":"{span.trace_id}","spanId":"{span.span_id}",{parent}"name":{_text(span.name)},"kind":{span.kind:d},'
        f'"startTimeUnixNano":"{span.begun_ns}","endTimeUnixNano":"{max(span.begun_ns, span.ended_ns)}",'
        f'"attributes":[{span.attributes}],{status}}}'
    )


def encode_request(spans: Iterable[str], resource: str) -> bytes:
    """Return the body of a request with spans, which are JSON already; `resource` are the attributes of whose they
    are."""
    head = f'{{"resourceSpans":[{{"resource":{{"attributes":[{resource}]}},'
    return f'{head}"scopeSpans":[{{"scope":{{"name":"argoproxy"}},"spans":[{",".join(spans)}]}}]}}]}}'.encode()


def encode_attributes(values: Mapping[str, Value]) -> str:
    """Return attributes as members of a JSON array; those that are None or "" are left out."""
    return ",".join([_encode(key, value) for key, value in values.items() if value is not None and value != ""])


def _encode(key: str, value: Value) -> str:
    """Return an attribute with the type of its value; 64-bit numbers are texts in JSON."""
    if isinstance(value, str):
        typed = f'"stringValue":{_encode_text(value)}'
    elif isinstance(value, bool):
        typed = f'"boolValue":{"true" if value else "false"}'
    elif isinstance(value, int):
        typed = f'"intValue":"{value}"'
    else:
        typed = f'"doubleValue":{value if value is not None and math.isfinite(value) else 0.0}'
    return f'{{"key":"{key}","value":{{{typed}}}}}'
