from __future__ import annotations

import pytest

from argoproxy.telemetry.tracing.trace_parent import TraceParent, read_trace_parent, with_trace_parent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TraceParent(TRACE, SPAN, is_sampled=True)),
        (f" 00-{TRACE}-{SPAN}-00 ", TraceParent(TRACE, SPAN, is_sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", TraceParent(TRACE, SPAN, is_sampled=True)),
        (f"01-{TRACE}-{SPAN}-01-of-later", TraceParent(TRACE, SPAN, is_sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        ("", None),
    ],
)
def test_only_what_the_specification_allows_is_read(value: str, expected: TraceParent | None) -> None:
    assert read_trace_parent((("Host", "x"), ("Traceparent", value))) == expected


def test_a_request_gets_one_header() -> None:
    headers = (("TraceParent", "old"), ("tracestate", "a=b"))
    sent = with_trace_parent(headers, TraceParent(TRACE, SPAN, is_sampled=True))
    assert sent == (("tracestate", "a=b"), ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    assert read_trace_parent(sent) == TraceParent(TRACE, SPAN, is_sampled=True)
