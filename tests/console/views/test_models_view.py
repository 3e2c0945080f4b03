"""Which models there are, and how fast they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.console.views.models_view import MINUTES, add_circuits, make_view, show_models
from argoproxy.console.views.recent_requests import (
    KEEP_S,
    RecentRequest,
    RecentRequests,
    find_percentiles,
    last_ending,
    make_strip,
)
from argoproxy.console.views.totals import Totals
from argoproxy.console.views.view_shapes import Counts
from tests.support.console_sources import make_sources

NOW = 10_000.0
RULES = """
models:
  fast: {upstream: [spare, vllm], upstream_model_name: qwen}
  "gpt-*": {upstream: vllm}
  default: {think_tag_start: "["}
allowed_models: [fast, qwen]
"""


def ended(
    number: int, age_s: float = 0.0, first_byte_ms: float | None = 10.0, ending: str = "complete"
) -> RecentRequest:
    return RecentRequest(NOW - age_s, str(number), "fast", "spare", "", ending, 200, first_byte_ms, 100.0)


def counts(requests: int) -> Counts:
    return {"requests": requests, "errors": 0, "tokens_in": 0, "tokens_out": 0, "cost": None}


def test_models_are_those_of_rules_lists_and_requests(tmp_path: Path) -> None:
    totals = Totals(1.0, by_model={"seen": counts(5), "other": counts(1), "": counts(1)})
    shown = show_models(make_sources(tmp_path, RULES), ["listed"], [ended(1)], totals, NOW)
    assert [(one["name"], one["is_listed"]) for one in shown] == [("seen", False), ("fast", False), ("listed", True)]


def test_a_model_says_who_serves_it_by_which_rule(tmp_path: Path) -> None:
    fast, listed = show_models(make_sources(tmp_path, RULES), ["listed"], [], Totals(), NOW)
    assert (fast["upstreams"], fast["is_model"], fast["refused"]) == (["spare", "vllm"], "qwen", "")
    assert fast["rules"][0].startswith("fast (")
    assert (listed["upstreams"], bool(listed["refused"])) == (["vllm"], True)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"spare": {"state": "closed", "models": {"qwen": {"state": "open", "reason": "timeout"}}}}, "open"),
        ({"spare": {"state": "open", "models": {}}}, "open"),
        ({"spare": {"state": "closed", "models": {}}, "vllm": {"state": "open"}}, "closed"),
        ({}, None),
    ],
)
def test_the_circuit_is_the_models_own_or_its_upstreams(
    tmp_path: Path, states: dict[str, object], expected: str
) -> None:
    shown = show_models(make_sources(tmp_path, RULES), [], [], Totals(), NOW)
    assert add_circuits(shown, states)[0]["circuit"].get("state") == expected  # type: ignore[arg-type]


def test_times_and_the_strip_are_those_of_recent_requests(tmp_path: Path) -> None:
    recent = [ended(1, 61, 30.0), ended(2, 10, 20.0), ended(3, 5, None, "upstream_error")]
    view = make_view(show_models(make_sources(tmp_path, RULES), [], recent, Totals(), NOW), Totals())
    fast = view["models"][0]
    assert (fast["first_byte_ms"], fast["recent"]) == ({"p50": 20.0, "p95": 30.0}, 3)
    assert fast["last"]
    assert fast["last"]["ending"] == "upstream_error"
    assert len(fast["strip"]) == MINUTES == view["minutes"]
    assert [(cell["requests"], cell["failed"], cell["p50"]) for cell in fast["strip"][-2:]] == [
        (1, 0, 30.0),
        (2, 1, 20.0),
    ]
    assert view["reason"]


def test_percentiles_are_times_that_occurred() -> None:
    assert find_percentiles([None]) == {"p50": None, "p95": None}
    assert find_percentiles([5.0]) == {"p50": 5.0, "p95": 5.0}
    assert find_percentiles(map(float, range(1, 101))) == {"p50": 50.0, "p95": 95.0}


def test_a_request_is_remembered_once_and_for_half_an_hour() -> None:
    memory = RecentRequests()
    memory.add([ended(1, KEEP_S - 10), ended(2)], NOW)
    assert [one.id for one in memory.add([ended(2), ended(3, 1)], NOW)] == ["1", "3", "2"]
    assert [one.id for one in memory.add([], NOW + 11)] == ["3", "2"]
    assert last_ending([]) is None


def test_what_is_of_the_future_or_too_old_has_no_cell() -> None:
    assert sum(cell["requests"] for cell in make_strip([ended(1, -5), ended(2, 1e6)], NOW, 5)) == 0
