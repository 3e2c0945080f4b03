"""`usage` as an operator types it: the commands of docs/prices.md, what they print, and their exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from argoproxy.cli.usage import usage_command, usage_tables
from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.local.usage_database import DATABASE
from tests.support.processes import ROOT

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
PAGE = (ROOT / "docs" / "prices.md").read_text()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STATE_PATH", "CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[LocalLimits]:
    store = LocalLimits(folder / "state")
    yield store
    store.close()


def write(store: LocalLimits, *entries: dict[str, Any]) -> None:
    for number, fields in enumerate(entries):
        given = {"at": NOON, "key_id": "k", "key_name": "bob", "team": "", "model": "m1", "upstream": "up", **fields}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost_nanos": 10**9, **fields}
        name = f"{given['at']}-{number}"
        store.settle(name, {}, LedgerEntry(name, **{**given, **usage}), NOON)
    store.flush()


class Command:
    """Runs `usage …` and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, words: str = "", status: int = 0, settings: str = "--state_path state") -> str:
        assert usage_command.main([*words.split(), *settings.split()], "argoproxy usage") == status
        printed = self._capsys.readouterr()
        self.error = printed.err
        return printed.out

    def rows(self, words: str, settings: str = "--state_path state") -> list[dict[str, Any]]:
        return list(json.loads(self(f"{words} --json", 0, settings)))


@pytest.fixture
def usage(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_requests_are_added_up_by_each_group(store: LocalLimits, usage: Command) -> None:
    write(
        store,
        {"key_name": "ann", "team": "red", "cost_nanos": 2_500_000_000},
        {"cached_tokens": 4, "reasoning_tokens": 3, "model": "m2"},
        {"cost_nanos": 1, "upstream": "spare", "at": NOON + DAY_S},
        {"cost_nanos": None, "prompt_tokens": None, "completion_tokens": None, "is_estimated": True},
    )
    ann, bob = usage.rows("")
    assert (ann["key"], ann["requests"], ann["total_tokens"], ann["cost"]) == ("ann", 1, 15, 2.5)
    assert bob == {
        "key": "bob",
        "requests": 3,
        "prompt_tokens": 20,
        "cached_tokens": 4,
        "completion_tokens": 10,
        "reasoning_tokens": 3,
        "total_tokens": 30,
        "cost": 1.000000001,
        "unpriced_requests": 1,
        "estimated_requests": 1,
    }
    by = {name: [row[name] for row in usage.rows(f"--by {name}")] for name in ("team", "model", "upstream", "day")}
    assert by == {
        "team": ["red", ""],
        "model": ["m1", "m2"],
        "upstream": ["up", "spare"],
        "day": ["2026-11-10", "2026-11-11"],
    }


def test_a_time_and_a_key_are_chosen(store: LocalLimits, usage: Command) -> None:
    write(store, {"at": NOON - DAY_S}, {}, {"at": NOON + DAY_S, "key_name": "ann"})
    for words, days in (
        ("--since 2026-11-10", ["2026-11-10", "2026-11-11"]),
        ("--until 2026-11-10", ["2026-11-09", "2026-11-10"]),
        ("--since 2026-11-10 --until 2026-11-10", ["2026-11-10"]),
        ("--since 2026-11-10T12:00 --until 2026-11-11T12:00+00:00", ["2026-11-10"]),
        ("--since 2026-11-10T13:00+01:00", ["2026-11-10", "2026-11-11"]),
        ("--key ann", ["2026-11-11"]),
        ("--key nobody", []),
        ("--until 3000d", []),
    ):
        assert [row["day"] for row in usage.rows(f"--by day {words}")] == days, words


def test_days_begin_in_the_zone_of_budgets(folder: Path, store: LocalLimits, usage: Command) -> None:
    write(store, {"at": datetime(2026, 11, 10, 23, 30, tzinfo=UTC).timestamp()})
    (folder / "config.yaml").write_text(
        "target_base_url: http://localhost:8000/v1\nstate_path: state\nbudget_zone: Europe/Berlin\n"
    )
    assert [row["day"] for row in usage.rows("--by day --since 2026-11-11", "--config config.yaml")] == ["2026-11-11"]
    assert [row["day"] for row in usage.rows("--by day")] == ["2026-11-10"]


def test_a_table_has_a_total_and_what_is_not_known(store: LocalLimits, usage: Command) -> None:
    write(
        store, {"cost_nanos": 12_345_678}, {"key_name": "ann", "cost_nanos": 1}, {"key_name": "eve", "cost_nanos": None}
    )
    assert usage().splitlines() == [
        "key    requests  prompt  cached  completion     cost  unpriced",
        "bob           1      10       0           5   0.0123         0",
        "ann           1      10       0           5  <0.0001         0",
        "eve           1      10       0           5  unknown         1",
        "total         3      30       0          15   0.0123         1",
    ]
    assert usage("--key bob").splitlines()[-1].startswith("bob ")


def test_csv_is_exact_and_holds_no_formula(store: LocalLimits, usage: Command) -> None:
    write(store, {"model": "=cmd|x", "cost_nanos": 1_234_567_891}, {"model": "m,1\n", "cost_nanos": None})
    printed = usage("--by model --csv")
    first, second = csv.DictReader(io.StringIO(printed))
    assert (first["model"], first["cost"]) == ("'=cmd|x", "1.234567891")
    assert (second["model"], second["cost"]) == ("m,1\n", "")


def test_names_of_clients_can_not_change_the_terminal(store: LocalLimits, usage: Command) -> None:
    write(store, {"model": "a\x1b[2J\nb" + "x" * 100})
    head, line = usage("--by model").splitlines()
    assert line.isprintable()
    assert len(line) == len(head)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "█"), ("latin-1", "#")])
def test_a_terminal_gets_bars(
    store: LocalLimits, usage: Command, monkeypatch: pytest.MonkeyPatch, encoding: str, mark: str
) -> None:
    write(store, {"at": NOON, "cost_nanos": 40}, {"at": NOON + DAY_S, "cost_nanos": 10})

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    for columns, longest in ((200, 20), (70, 11), (60, 0)):
        out = Terminal(io.BytesIO(), encoding=encoding)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout", out)
        usage_command.main(["--by", "day", "--state_path", "state"], "argoproxy usage")
        out.seek(0)
        lines = out.read().splitlines()
        assert max(map(len, lines)) <= columns
        assert lines[1].count(mark) == longest
        assert lines[-1].count(mark) == 0


def test_tokens_are_drawn_where_nothing_has_a_cost() -> None:
    assert [usage_tables.draw_bar(amount, 40, 8) for amount in (40, 20, 1, 0)] == ["████████", "████", "▎", ""]


def test_nothing_was_written_down_yet(usage: Command, store: LocalLimits) -> None:
    assert usage() == ""
    assert "No request" in usage.error
    assert usage.rows("--by model") == []
    write(store, {})
    assert usage("--since 2027-01-01") == ""


def test_it_is_read_while_the_proxy_writes(store: LocalLimits, usage: Command, folder: Path) -> None:
    write(store, {})
    writer = sqlite3.connect(folder / "state" / DATABASE, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert usage.rows("")[0]["requests"] == 1
    writer.execute("ROLLBACK")
    writer.close()
    assert (os.stat(folder / "state" / DATABASE).st_mode & 0o777) == 0o600


def test_a_damaged_ledger_is_named(usage: Command, folder: Path) -> None:
    (folder / "state" / DATABASE).write_bytes(b"no database, for sure" * 100)
    usage("", 1)
    assert "The ledger can't be read now" in usage.error


@pytest.mark.parametrize("words", ["--since yesterday", "--until 2026-02-30", "--since 1d2", "--until 9999-12-31"])
def test_mistakes_are_named(usage: Command, words: str) -> None:
    usage(words, 2)
    assert words.split(maxsplit=1)[0] in usage.error


def test_without_a_folder_nothing_is_written_down(usage: Command, folder: Path) -> None:
    usage("", 2, "--state_path elsewhere")
    assert "is no folder" in usage.error
    (folder / "config.yaml").write_text("target_base_url: http://localhost:8000/v1\n")
    usage("", 2, "")
    assert "state_path" in usage.error


def test_the_page_shows_commands_that_work(store: LocalLimits, usage: Command) -> None:
    write(store, {})
    commands = re.findall(r"(?m)^argoproxy usage(.*?)(?:#.*)?$", PAGE)
    assert len(commands) == 3
    for words in commands:
        usage(words)
