"""The header `traceparent`, by which programs say to which trace a request belongs (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
from typing import NamedTuple

from argoproxy.protocol.http_messages import Headers

HEADER = "traceparent"
_FIELDS = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED = 1


class TraceParent(NamedTuple):
    """A trace, the span in it that a request comes from (both in hexadecimal), and whether it is recorded there."""

    trace_id: str
    span_id: str
    is_sampled: bool


def read_trace_parent(text: str) -> TraceParent | None:
    """Return what a request belongs to, None if the header is not valid. Of versions to come, the known part counts."""
    found = _FIELDS.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def write_trace_parent(trace_id: str, span_id: str) -> Headers:
    """Return the header that says to which span of a recorded trace a request belongs."""
    return ((HEADER, f"00-{trace_id}-{span_id}-01"),)
