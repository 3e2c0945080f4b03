"""Spans as OpenTelemetry's protocol has them: OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/).

Text is written here and not objects for an encoder, which would take three times as long; what comes again and again,
names of models for instance, is encoded once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from argoproxy.protocol.json_text import JsonError, as_dict, loads_strict

Value = str | int | float | bool | None

CLOSE = "}}"
#: The ids of its trace, its own and that of the span that it belongs to, "" without one.
SpanIds = tuple[str, str, str]
_SCOPE, _END = '{"scope":{"name":"argoproxy"},', "]}]}]}"
_NO_ERROR = '"status":{}'


class SpanKind(IntEnum):
    """On which side of a request a span stands."""

    SERVER = 2
    CLIENT = 3


class SpanFrame(NamedTuple):
    """What spans have in common that are alike, as JSON: name and kind, attributes, and status."""

    name: str
    attributes: str
    status: str


def make_frame(name: str, kind: SpanKind, error: str, attributes: Mapping[str, Value]) -> SpanFrame:
    """Return what spans have in common; `error` is "" for what went well."""
    status = f'"status":{{"code":2,"message":{encode_text(error)}}}' if error else _NO_ERROR
    return SpanFrame(f'"name":{encode_text(name)},"kind":{kind:d}', encode_attributes(attributes), status)


def encode_text(text: str) -> str:
    """Return a text as JSON. A lone surrogate, for which a collector may refuse all spans, becomes `?`."""
    return encode_basestring_ascii(text if text.isascii() else text.encode("utf-8", "replace").decode())


def encode_span(frame: SpanFrame, ids: SpanIds, times_ns: tuple[int, int], own: str) -> str:
    """Return a span as JSON: something that took time. `times_ns` are nanoseconds of Unix time; `own` are the
    attributes of this span alone, which `encode_attributes` returns."""
    name, attributes, status = frame
    trace_id, span_id, parent_id = ids
    begun_ns, ended_ns = times_ns
    parent = f'"parentSpanId":"{parent_id}",' if parent_id else ""
    ended_ns = max(ended_ns, begun_ns)
    comma = "," if own and attributes else ""
    return (
        f'{{"traceId":"{trace_id}","spanId":"{span_id}",{parent}{name},'
        f'"startTimeUnixNano":"{begun_ns}","endTimeUnixNano":"{ended_ns}",'
        f'"attributes":[{attributes}{comma}{own}],{status}}}'
    )


def encode_request(spans: Sequence[str], resource: str) -> bytes:
    """Return the body of a request with spans, which are JSON already; `resource` are the attributes of whose they
    are. There is at least one span; a body is long, so it is put together once."""
    head = f'{{"resourceSpans":[{{"resource":{{"attributes":[{resource}]}},"scopeSpans":[{_SCOPE}"spans":['
    texts = list(spans)
    texts[0] = head + texts[0]
    texts[-1] += _END
    return ",".join(texts).encode()


def open_attribute(key: str, kind: str) -> str:
    """Return what stands before the value of an attribute, where it is written for each span: a JSON number or text,
    and then `CLOSE`."""
    return f'{{"key":"{key}","value":{{"{kind}":'


def read_rejected(body: bytes) -> int:
    """Return how many spans a collector has rejected of those that it was sent, by its answer (OTLP, "Partial
    Success"): 64-bit numbers are texts in JSON."""
    try:
        document = loads_strict(body) if body.strip() else {}
    except JsonError:
        return 0
    said = as_dict(as_dict(document).get("partialSuccess")).get("rejectedSpans", 0)
    try:
        return max(0, int(said))
    except (TypeError, ValueError):
        return 0


def encode_attributes(values: Mapping[str, Value]) -> str:
    """Return attributes as members of a JSON array; those that are None or "" are left out."""
    return ",".join([_encode(key, value) for key, value in values.items() if value is not None and value != ""])


def _encode(key: str, value: Value) -> str:
    """Return an attribute with the type of its value; 64-bit numbers are texts in JSON."""
    if isinstance(value, str):
        typed = f'"stringValue":{encode_text(value)}'
    elif isinstance(value, bool):
        typed = f'"boolValue":{"true" if value else "false"}'
    elif isinstance(value, int):
        typed = f'"intValue":"{value}"'
    else:
        typed = f'"doubleValue":{value if value is not None and math.isfinite(value) else 0.0}'
    return f'{{"key":"{key}","value":{{{typed}{CLOSE}'
