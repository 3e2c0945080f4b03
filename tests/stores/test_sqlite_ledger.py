"""What commands read of a ledger that is only being created."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, read_counters, read_spent, read_usage
from argoproxy.stores.local.usage_database import DATABASE


def leave_away(_: Path) -> None:
    """Create no file."""


def create_without_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")


@pytest.mark.parametrize("create", [leave_away, Path.touch, create_without_tables])
def test_without_a_table_nothing_was_written_yet(tmp_path: Path, create: Callable[[Path], None]) -> None:
    create(tmp_path / DATABASE)
    assert read_usage(tmp_path, Grouping.MODEL, LedgerFilter(0, 1), str) == []
    assert read_spent(tmp_path, "key:a", 0) == []
    assert read_counters(tmp_path, ["key:a/rpm"]) == {}
