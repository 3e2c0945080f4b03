"""The live view as text: what it says, and that it fits on any screen."""

from __future__ import annotations

import pytest

from argoproxy.console.live.live_text import draw_bars, make_screen
from argoproxy.console.live.live_view import LiveView
from argoproxy.telemetry.live.live_files import OpenRequest

OPEN = OpenRequest(
    id="ab12",
    at=1_790_000_000.0,
    model="qwen\x1b[2J",
    sent_model="",
    upstream="vllm",
    key="bob",
    phase="sent",
    is_stream=True,
    elapsed_ms=2500.0,
    first_byte_ms=200.0,
    silent_ms=10.0,
    bytes_sent=4096,
    tokens=40,
)
VIEW = LiveView(
    now=1_790_000_010.0,
    strip=[
        {"at": float(second), "requests": second / 2, "failed": 0.5, "tokens_in": 7.0, "tokens_out": 30.0}
        for second in range(100)
    ],
    upstreams=[{"name": "vllm", "state": "open", "open_streams": 1, "waiting": 2}],
    open=[OPEN] * 30,
    open_count=30,
    open_reason="",
    finished=[
        {"id": f"id{n}", "at": 1.0, "total_ms": 12.0, "ending": "complete", "model": "m" * 99} for n in range(40)
    ],
    reason="",
)
EMPTY = LiveView(now=0.0, strip=[], upstreams=[], open=[], open_count=0, open_reason="", finished=[], reason="")


def test_it_tells_what_is_there() -> None:
    text = "\n".join(make_screen(VIEW, 5000, (0, 0)))
    for words in (
        "port 5000",
        "49.5 requests a second, 0.5 of them failed",
        "30 tokens a second out, 7 in",
        "30 under way, 2 waiting",
        "vllm is not asked now",
        "2.5 s",
        "4096",
        "12 ms",
        "id0",
    ):
        assert words in text
    assert "\x1b" not in text


@pytest.mark.parametrize("size", [(80, 24), (20, 5), (1, 1), (300, 100)])
@pytest.mark.parametrize("view", [VIEW, EMPTY], ids=["full", "empty"])
def test_it_fits(view: LiveView, size: tuple[int, int]) -> None:
    lines = make_screen(view, 5000, size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_both_lists_have_room() -> None:
    lines = make_screen(VIEW, 5000, (120, 24))
    assert sum("vllm" in line and "bob" in line for line in lines) >= 8
    assert sum("complete" in line for line in lines) >= 3


def test_what_is_missing_is_said() -> None:
    lines = make_screen({**EMPTY, "open_reason": "No console.", "reason": "No journal."}, 5000, (0, 0))
    assert {"No console.", "No journal."} <= set(lines)
    lines = make_screen(EMPTY, 5000, (0, 0))
    assert {"No request is under way.", "No request has ended yet."} <= set(lines)


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([0.0, 0.0], "  "),
        ([0.0, 1.0, 2.0, 4.0, 8.0], " ▁▂▄█"),
        ([0.001, 1000.0], "▁█"),
        ([0.01], "█"),
        ([2.01, 1.0], "█▄"),
    ],
)
def test_bars(values: list[float], bars: str) -> None:
    assert draw_bars(values) == bars
