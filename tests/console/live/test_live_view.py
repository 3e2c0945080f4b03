"""The counts of the last minutes, second by second."""

from __future__ import annotations

from pathlib import Path

from argoproxy.config.config import load
from argoproxy.console.live.live_view import LiveSamples
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals


def test_a_clock_that_is_set_back_stops_no_counting(tmp_path: Path) -> None:
    moments = iter([10_000.0, 10_001.0, 6_400.0, 6_401.0])
    samples = LiveSamples(RequestReader(None), lambda _: Totals(), lambda: next(moments))
    sources = Sources(load({"DEMO": "true"}, tmp_path), (), {}, tmp_path, None)
    seen = [[second["at"] for second in samples.view(sources)["strip"]] for _ in range(4)]
    assert seen == [[], [10_001.0], [], [6_401.0]]
