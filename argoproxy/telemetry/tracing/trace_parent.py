"""The header `traceparent`, by which programs say to which trace a request belongs (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
from typing import NamedTuple

from argoproxy.protocol.http_messages import Headers, get_header, without

HEADER = "traceparent"
_NAMES = frozenset((HEADER,))
_FIELDS = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED = 1


class TraceParent(NamedTuple):
    """A trace, the span in it that a request comes from (both in hexadecimal), and whether it is recorded there."""

    trace_id: str
    span_id: str
    is_sampled: bool


def read_trace_parent(headers: Headers) -> TraceParent | None:
    """Return what a request belongs to, None without a valid header. Of versions to come, the known part counts."""
    found = _FIELDS.fullmatch(get_header(headers, HEADER).strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def with_trace_parent(headers: Headers, parent: TraceParent) -> Headers:
    """Return headers that say to which span a request belongs."""
    value = f"00-{parent.trace_id}-{parent.span_id}-{'01' if parent.is_sampled else '00'}"
    others = without(headers, _NAMES) if get_header(headers, HEADER) else headers
    return (*others, (HEADER, value))
