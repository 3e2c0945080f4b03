"""Who may ask, what is left, what was used: without a secret."""

from __future__ import annotations

from datetime import UTC, date
from pathlib import Path

import pytest

from argoproxy.console.views.keys_view import MOST_KEYS, KeyBooks, KeyUse, show_keys
from argoproxy.console.views.totals import KEEP_S, RecentTotals, Totals
from argoproxy.console.views.usage_view import MOST_DAYS, fill_days, parse_beginning, read_today, show_usage
from argoproxy.console.views.view_shapes import Counts, ShownUsage
from argoproxy.errors import BadRequest
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.local_limits import LocalLimits
from tests.support.console_sources import make_sources

#: 2026-11-23 12:00 UTC.
NOW = 1_795_435_200.0
SETTINGS = """
state_path: state
enable_auth: true
api_key_secret: static=sk-static-0123456789
limits: {rpm: 100}
"""
COUNTS: Counts = {"requests": 4, "errors": 1, "tokens_in": 10, "tokens_out": 20, "cost": None}


def settle(store: LocalLimits, request_id: str, key_id: str, at: float, tokens: int = 30) -> None:
    """Let a request of bob end: it used tokens, and 0.5 of a budget."""
    claims = (
        Claim(f"key:{key_id}/rpm", LimitKind.RPM, f"key:{key_id}", 60, 1),
        Claim(f"key:{key_id}/budget/2026-11", LimitKind.BUDGET, f"key:{key_id}", 5 * 10**9, 10**9),
    )
    entry = LedgerEntry(
        request_id, at, key_id, "bob", "", "gpt-4o", "vllm", "complete", 200, tokens, 0, 5, 0, 5 * 10**8
    )
    store.admit(Reservation(claims, entry, 0), at)
    store.settle(request_id, {claims[0].row: 1, claims[1].row: 5 * 10**8}, entry, at)
    store.flush()


def test_keys_are_shown_with_what_is_left(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, SETTINGS)
    store = SqliteKeys(tmp_path / "state", clock=lambda: NOW)
    store.create()
    fields = {"rpm": 60, "budget": "5/month", "team": None, "model_limits": {"gpt-*": {"concurrent": 2}}}
    made = KeyAdmin(store, "cli:ann", lambda: NOW).create("bob", fields)
    limits = LocalLimits(tmp_path / "state")
    settle(limits, "r0", made["id"], NOW - 86_400)
    settle(limits, "r1", made["id"], NOW)
    totals = Totals(60.0, by_key={"bob": COUNTS, "gone": COUNTS})
    view = show_keys(sources, KeyBooks().read(sources), KeyUse(totals, *read_today(sources, NOW)), "", NOW)
    rows = {row["name"]: row for row in view["keys"]}
    assert (view["access"], view["reason"], view["ledger_reason"]) == ("keys", "", "")
    assert [(name, row["kind"]) for name, row in rows.items()] == [
        ("bob", "managed"),
        ("gone", "other"),
        ("static", "setting"),
    ]
    levels = {(one["kind"], one["models"]): one for one in rows["bob"]["limits"]}
    assert (levels["rpm", ""]["used"], levels["rpm", ""]["left"], levels["rpm", ""]["period"]) == (1.0, 59.0, "minute")
    assert (levels["budget", ""]["used"], levels["budget", ""]["left"]) == (1.0, 4.0)
    assert levels["budget", ""]["resets_at"] == 1_796_083_200.0
    assert levels["concurrent", "gpt-*"]["left"] == 2
    assert rows["bob"]["today"] == {"requests": 1, "errors": 0, "tokens_in": 30, "tokens_out": 5, "cost": 0.5}
    assert rows["bob"]["counts"] == COUNTS
    assert [(one["subject"], one["kind"], one["left"]) for one in view["limits"]] == [("global", "rpm", 100)]
    assert rows["bob"]["ends_with"] == [made["key"][-4:]] or rows["bob"]["ends_with"]
    assert made["key"] not in str(view)
    assert "sk-static-0123456789" not in str(view)


def test_a_proxy_without_keys_says_so(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    view = show_keys(sources, KeyBooks().read(sources), KeyUse(Totals(), *read_today(sources, NOW)), "", NOW)
    assert (view["access"], view["keys"], view["teams"]) == ("open", [], [])
    assert "state_path" in view["reason"]
    assert "state_path" in view["ledger_reason"]


def test_keys_that_cant_be_read_leave_the_rest(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, SETTINGS)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys.sqlite3").write_text("no database")
    view = show_keys(sources, KeyBooks().read(sources), KeyUse(Totals(), *read_today(sources, NOW)), "", NOW)
    assert [row["name"] for row in view["keys"]] == ["static"]
    assert view["reason"]


def test_usage_is_added_up_from_the_ledger(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, SETTINGS)
    SqliteKeys(tmp_path / "state").create()
    limits = LocalLimits(tmp_path / "state")
    for number, at in enumerate((NOW - 2 * 86_400, NOW - 2 * 86_400, NOW)):
        settle(limits, str(number), "k", at)
    days = show_usage(sources, Totals(), {"by": "day", "since": "7d"}, NOW)
    assert [(row["name"], row["requests"]) for row in days["rows"]] == [
        ("2026-11-21", 2),
        ("2026-11-22", 0),
        ("2026-11-23", 1),
    ]
    today = show_usage(sources, Totals(), {"by": "model", "since": "today"}, NOW)
    assert [(row["name"], row["total_tokens"], row["cost"]) for row in today["rows"]] == [("gpt-4o", 35, 0.5)]
    assert (today["source"], today["reason"]) == ("ledger", "")
    assert show_usage(sources, Totals(), {"key": "ann"}, NOW)["rows"] == []


def test_without_a_ledger_usage_is_what_was_counted(tmp_path: Path) -> None:
    sources, totals = make_sources(tmp_path), Totals(NOW - 60, by_key={"bob": COUNTS})
    view = show_usage(sources, totals, {}, NOW)
    assert (view["source"], view["since"], [row["total_tokens"] for row in view["rows"]]) == ("counts", NOW - 60, [30])
    assert view["reason"]
    assert show_usage(sources, totals, {"by": "day"}, NOW)["rows"] == []
    assert read_today(sources, NOW)[0] == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("today", 1_795_392_000.0), ("2026-11-01", 1_793_491_200.0), ("7d", NOW - 7 * 86_400)],
)
def test_a_beginning_is_a_day_or_a_time_ago(text: str, expected: float) -> None:
    assert parse_beginning(text, NOW, UTC) == expected


def test_days_without_an_end_are_cut() -> None:
    view = show_usage_of_day("1970-01-01")
    assert (len(view), view[-1]["name"]) == (MOST_DAYS, "2026-11-23")
    assert fill_days([], date(2026, 11, 23)) == []


def show_usage_of_day(day: str) -> list[ShownUsage]:
    row: ShownUsage = {
        "name": day,
        "requests": 1,
        "prompt_tokens": 1,
        "cached_tokens": 0,
        "completion_tokens": 1,
        "reasoning_tokens": 0,
        "total_tokens": 2,
        "cost": None,
        "unpriced": 1,
        "estimated": 0,
    }
    return fill_days([row], date(2026, 11, 23))


@pytest.mark.parametrize("options", [{"by": "colour"}, {"since": "soon"}, {"since": "2026-99-01"}])
def test_what_is_no_option_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        show_usage(make_sources(tmp_path), Totals(), options, NOW)


def test_of_many_keys_those_that_used_most_are_shown(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    many: dict[str, Counts] = {f"k{number:05}": {**COUNTS, "tokens_in": number} for number in range(2 * MOST_KEYS)}
    use = KeyUse(Totals(1.0, by_key=many), {}, "none")
    view = show_keys(sources, KeyBooks().read(sources), use, "", NOW)
    assert (len(view["keys"]), view["key_count"]) == (MOST_KEYS, 2 * MOST_KEYS)
    assert view["keys"][0]["name"] == f"k{2 * MOST_KEYS - 1:05}"
    found = show_keys(sources, KeyBooks().read(sources), use, "00007", NOW)
    assert [row["name"] for row in found["keys"]] == ["k00007"]


def test_keys_are_read_again_when_they_have_changed(tmp_path: Path) -> None:
    sources, books = make_sources(tmp_path, SETTINGS), KeyBooks()
    store = SqliteKeys(tmp_path / "state")
    store.create()
    assert books.read(sources)[0].keys == {}
    KeyAdmin(store, "cli:ann").create("bob", {})
    assert list(books.read(sources)[0].keys) == ["bob"]
    assert books.read(sources)[0] is books.read(sources)[0]


def test_counts_are_added_up_once_in_a_while(tmp_path: Path) -> None:
    now = [0.0]
    totals = RecentTotals(tmp_path, lambda: now[0])
    assert totals.read() is totals.read()
    first, now[0] = totals.read(), KEEP_S
    assert totals.read() is not first
