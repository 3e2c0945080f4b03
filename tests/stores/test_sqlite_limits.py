"""Counters and the ledger in a file: exact whichever worker asks, settled once, and as documented in trouble."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.sqlite_limits import SqliteLimits

NOW = 1_795_400_000.0
RPM, TPM = "key:a/rpm", "key:a/tpm"
CONCURRENT, BUDGET = "key:a/concurrent", "key:a/budget/total"


def claim(row: str, limit: int, amount: int = 1) -> Claim:
    return Claim(row, LimitKind(row.split("/")[1]), "key:a", limit, amount)


def entry(request_id: str, **values: Any) -> LedgerEntry:
    return LedgerEntry(request_id, NOW, "a", "ann", "red", "m1", "main", **values)


def reserve(request_id: str, *claims: Claim, tokens: int = 0) -> Reservation:
    return Reservation(claims, entry(request_id, cost_nanos=7), tokens)


def ledger(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "usage.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM ledger ORDER BY number")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteLimits]:
    store = SqliteLimits(tmp_path)
    yield store
    store.close()


def test_nothing_is_opened_before_the_first_request(store: SqliteLimits, tmp_path: Path) -> None:
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_all_claims_are_granted_or_none(store: SqliteLimits) -> None:
    first = store.admit(reserve("1", claim(BUDGET, 10, 4), claim(RPM, 1)), NOW)
    assert first.refused is None
    assert {row: level.remaining for row, level in first.levels.items()} == {BUDGET: 6, RPM: 0}
    second = store.admit(reserve("2", claim(BUDGET, 10, 4), claim(RPM, 1)), NOW)
    assert second.refused
    assert (second.refused.row, second.retry_after_s) == (RPM, 60.0)
    assert second.levels[BUDGET].remaining == 6


def test_a_request_is_settled_once(store: SqliteLimits, tmp_path: Path) -> None:
    claims = [claim(BUDGET, 10, 8), claim(CONCURRENT, 1), claim(RPM, 5), claim(TPM, 100, 60)]
    store.admit(reserve("1", *claims), NOW)
    for _ in range(2):
        store.settle("1", {BUDGET: 3, RPM: 1, TPM: 20}, entry("1", ending="complete", prompt_tokens=20), NOW)
    levels = store.admit(reserve("2", *claims[1:], claim(BUDGET, 10, 2)), NOW).levels
    assert {row: level.remaining for row, level in levels.items()} == {BUDGET: 5, CONCURRENT: 0, RPM: 3, TPM: 20}
    assert [(row["request_id"], row["ending"], row["prompt_tokens"]) for row in ledger(tmp_path)] == [
        ("1", "complete", 20)
    ]


def test_a_request_may_ask_for_more_once(store: SqliteLimits) -> None:
    store.admit(reserve("1", claim(RPM, 2)), NOW)
    more = Claim("upstream:b/rpm", LimitKind.RPM, "upstream:b", 1, 1)
    assert store.extend("1", [more], NOW).refused is None
    assert store.extend("1", [more], NOW).refused is None
    store.admit(reserve("2", claim(RPM, 2)), NOW)
    assert store.extend("2", [more], NOW).refused == more
    store.settle("1", {RPM: 1}, None, NOW)
    assert store.extend("2", [more], NOW).refused is None
    assert store.extend("unknown", [more], NOW).refused is None
