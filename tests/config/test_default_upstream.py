"""Which upstream answers by default: a test for each row of the table, and for how rows compete."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from argoproxy.config.default_upstream import ROWS, Row, pick_target, rank_rows
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer

#: For each row: settings that name it, and the upstream that answers then (None: those of the section).
BY_ROW: dict[str, tuple[dict[str, Any], str | None]] = {
    "demo": ({"demo": True}, "the embedded demo"),
    "upstreams": ({"upstreams": {"a": {"kind": "demo"}}}, None),
    "native": ({"use_native_openai": True, "native_openai_base_url": "http://n/v1"}, "http://n/v1, native"),
    "target": ({"target_base_url": "http://t"}, "http://t"),
    "argo": ({"argo_url": "http://a", "username_passthrough": True}, "Argo at http://a for"),
    "user": ({"user": "me"}, "Argo at https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/chat/ for me"),
    "openai": ({"openai_base_url": "http://o"}, "http://o"),
}
BY_NAME = {row.name: row for row in ROWS}


def values_of(*layers: dict[str, Any]) -> ConfigValues:
    return ConfigValues([Layer(f"layer {index}", content) for index, content in enumerate(layers)])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_that_is_named_answers(row: Row) -> None:
    settings, description = BY_ROW[row.name]
    values = values_of(settings)
    target = pick_target(values)
    assert (target is None) is (description is None)
    assert target is None or target.description.startswith(str(description))
    assert values.mistakes == values.warnings == []


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.keys) > 1], ids=lambda row: row.name)
def test_a_row_is_named_by_any_of_its_keys(row: Row) -> None:
    for key in row.keys:
        assert rank_rows(values_of({key: "http://x"})) == [row]


def test_nothing_at_all_leads_to_openai() -> None:
    target = pick_target(values_of({}))
    assert target is not None
    assert target.url == "https://api.openai.com/v1"


@pytest.mark.parametrize(("stronger", "weaker"), list(pairwise(ROWS)), ids=lambda row: row.name)
def test_in_one_layer_the_earlier_row_wins(stronger: Row, weaker: Row) -> None:
    values = values_of({**BY_ROW[weaker.name][0], **BY_ROW[stronger.name][0]})
    assert [row for row in rank_rows(values) if row in (stronger, weaker)] == [stronger, weaker]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_weak], ids=lambda row: row.name)
def test_a_stronger_layer_wins(row: Row) -> None:
    for other in ROWS:
        if other is not row:
            assert rank_rows(values_of(BY_ROW[row.name][0], BY_ROW[other.name][0]))[0] is row


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_weak], ids=lambda row: row.name)
def test_a_weak_row_yields_even_to_weaker_layers(row: Row) -> None:
    for other in ROWS:
        if not other.is_weak:
            assert rank_rows(values_of(BY_ROW[row.name][0], BY_ROW[other.name][0]))[0] is other


@pytest.mark.parametrize("winner", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("loser", ROWS, ids=lambda row: row.name)
def test_a_row_that_is_named_in_vain_is_a_warning_that_names_both(winner: Row, loser: Row) -> None:
    if ROWS.index(winner) >= ROWS.index(loser):
        return
    values = values_of(BY_ROW[winner.name][0], BY_ROW[loser.name][0])
    pick_target(values)
    warnings = [warning for warning in values.warnings if "is not used" in warning]
    assert len(warnings) == (winner.name not in loser.used_by)
    for warning in warnings:
        assert values.describe(loser.key(values)) in warning
        assert values.describe(winner.key(values)) in warning


def test_what_belongs_to_a_row_goes_with_it() -> None:
    assert BY_NAME["user"].used_by == {"argo", "native", "upstreams"}
    values = values_of({"target_base_url": "http://t", "argo_url": "http://a", "user": "me"})
    pick_target(values)
    assert len(values.warnings) == 1
