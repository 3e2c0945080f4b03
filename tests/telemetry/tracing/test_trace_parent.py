from __future__ import annotations

import pytest

from argoproxy.telemetry.tracing.trace_parent import TraceParent, read_trace_parent, write_trace_parent

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
    assert read_trace_parent(value) == expected


def test_what_is_written_can_be_read() -> None:
    sent = write_trace_parent(TRACE, SPAN)
    assert sent == (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
    ((_, value),) = sent
    assert read_trace_parent(value) == TraceParent(TRACE, SPAN, is_sampled=True)
