"""The table of failures in docs/resilience.md, compared with what decides of them."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from argoproxy.errors import UpstreamStatus
from argoproxy.protocol.resilience.breaker import ADDRESS_KINDS, MODEL_KINDS
from argoproxy.protocol.resilience.failures import (
    CONSEQUENCES,
    DEFAULT_FALLBACK_ON,
    LISTED_BY_NAME,
    Again,
    Elsewhere,
    FailureKind,
    classify,
)
from tests.support.processes import ROOT


class Row(NamedTuple):
    """A row of the table: the statuses that are named in it, and its other cells."""

    statuses: tuple[int, ...]
    kind: FailureKind
    again: str
    elsewhere: str
    circuit: str


def read_rows() -> list[Row]:
    section = (ROOT / "docs" / "resilience.md").read_text().partition("## Failures")[2].partition("\n## ")[0]
    rows = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1].startswith("`"):
            statuses = tuple(map(int, re.findall(r"\b\d{3}\b", cells[0].partition("from")[0])))
            rows.append(Row(statuses, FailureKind(cells[1].strip("`")), *cells[2:]))
    return rows


ROWS = read_rows()


def test_every_kind_is_in_the_table() -> None:
    assert {row.kind for row in ROWS} == set(FailureKind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind} {row.statuses}")
def test_the_table_says_what_is_done(row: Row) -> None:
    assert {classify(UpstreamStatus(status, (), b"")) for status in row.statuses} <= {row.kind}
    assert row.again.startswith("once") == (CONSEQUENCES[row.kind].again is not Again.NEVER)
    assert ("context_fallback" in row.elsewhere) == (CONSEQUENCES[row.kind].elsewhere is Elsewhere.LARGER_CONTEXT)
    assert (row.circuit == "of the address") == (row.kind in ADDRESS_KINDS)
    assert (row.circuit == "of the model") == (row.kind in MODEL_KINDS)
    names = [str(status) for status in row.statuses] or [str(row.kind)] * (row.kind in LISTED_BY_NAME)
    assert {name in DEFAULT_FALLBACK_ON for name in names} <= {row.elsewhere == "yes"}


def test_the_statuses_of_the_default_are_in_the_table() -> None:
    named = {str(status) for row in ROWS for status in row.statuses if row.elsewhere == "yes"}
    assert named == {name for name in DEFAULT_FALLBACK_ON if name.isdigit()}
