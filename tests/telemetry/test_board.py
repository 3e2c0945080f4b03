"""The page and the board about metrics are held against what a scrape really tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from argoproxy.data import DASHBOARD, read_data
from argoproxy.errors import Ending
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import AttemptSummary
from argoproxy.telemetry.slots import make_folder
from tests.support.outcomes import outcome
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
BOARD: dict[str, Any] = json.loads(read_data(DASHBOARD))
STATES = {"openai": {"state": "closed", "open_streams": 0, "waiting": 0, "openings": 0, "models": {}}}
PREFIXES = r"(?:argoproxy|gen_ai)_\w+"
THE_THREE = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, set[str]]:
    """Give the labels of every sample that a scrape tells when there was some of everything."""
    folder = make_folder([tmp_path])
    assert folder
    metrics = Metrics(folder)
    failed = AttemptSummary("openai", "connect", 0.1)
    broken = outcome(
        status=502,
        ending=Ending.UPSTREAM_ERROR,
        attempts=(failed, failed, failed._replace(upstream="b")),
        unpriced="model",
        limit="key.rpm",
    )
    for one in (outcome(return_mode="stream", key="team", queue_s=0.1, cost_nanos=5), broken, outcome(cache="hit")):
        metrics.count_start(one.route)
        metrics(one)
    metrics.count_spans("sent", 1)
    metrics.count_dropped_entries("backlog", 1)
    families = list(text_string_to_metric_families(metrics.to_text(STATES, {"limits": True}).decode()))
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def written() -> Iterator[tuple[str, set[str]]]:
    """Give the metrics of the page's tables, with their labels."""
    for name, labels in re.findall(rf"(?m)^\| `({PREFIXES})` \|.*\|([^|]*)\|$", PAGE):
        yield name, set(re.findall(r"`(\w+)`", labels)) | (THE_THREE if name.startswith("gen_ai") else set())


def queries() -> Iterator[str]:
    yield from re.findall(r"(?s)```promql\n(.*?)```", PAGE)
    yield from (target["expr"] for panel in BOARD["panels"] for target in panel["targets"])


def test_the_page_lists_every_metric_with_its_labels(samples: dict[str, set[str]]) -> None:
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name): labels - {"le"} for name, labels in samples.items()}
    assert dict(written()) == families


def test_every_query_names_what_is_exported(samples: dict[str, set[str]]) -> None:
    labels = set().union(*samples.values())
    for query in queries():
        names = set(re.findall(rf"{PREFIXES}(?=[{{[])", query))
        assert names, query
        assert names <= set(samples), query
        by = {name for found in re.findall(r"by \(([^)]*)\)", query) for name in found.split(", ")}
        by |= set(re.findall(r"(\w+)[!=]~?\"", query)) - {"job"}
        assert by <= labels, query
        assert query.count("(") == query.count(")")


def test_the_board_lies_on_its_grid() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(taken)) == len(taken)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    for panel in panels:
        for target in panel["targets"]:
            legend = re.findall(r"{{(\w+)}}", target["legendFormat"])
            assert all(name in target["expr"] for name in legend), panel["title"]
