"""What is left of limits, by their counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argoproxy.protocol.limits.buckets import UNITS, Counter
from argoproxy.protocol.limits.limit_levels import LimitReader
from argoproxy.protocol.limits.limits import Budget, LimitedSubject, Limits, Period
from argoproxy.protocol.limits.windows import BudgetCalendar

NOW = 1000.0
CALENDAR = BudgetCalendar(lambda _: (2026, 11, 23))
ALL = Limits(rpm=60, tpm=1000, concurrent=2, budget=Budget(5 * 10**9, Period.TOTAL))
SUBJECT = LimitedSubject("key:a", Limits(rpm=10, models=(("gpt-*", ALL),)))


def read_levels(counters: Mapping[str, Counter]) -> list[tuple[str, str, float, float, str]]:
    levels = LimitReader(counters, CALENDAR, NOW).levels(SUBJECT)
    return [(one["kind"], one["models"], one["used"], one["left"], one["period"]) for one in levels]


def test_all_is_left_of_limits_without_counters() -> None:
    assert read_levels({}) == [
        ("rpm", "", 0.0, 10.0, "minute"),
        ("rpm", "gpt-*", 0.0, 60.0, "minute"),
        ("tpm", "gpt-*", 0.0, 1000.0, "minute"),
        ("concurrent", "gpt-*", 0, 2, ""),
        ("budget", "gpt-*", 0.0, 5.0, "total"),
    ]


def test_a_bucket_has_drained_since_it_was_written() -> None:
    half_a_minute_ago = int((NOW - 30) * 1e6)
    levels = read_levels({"key:a/rpm": Counter(8 * UNITS, half_a_minute_ago)})
    assert levels[0] == ("rpm", "", 3.0, 7.0, "minute")


def test_more_than_all_is_nothing_left() -> None:
    levels = read_levels(
        {"key:a/model:gpt-*/concurrent": Counter(3), "key:a/model:gpt-*/budget/total": Counter(10**10)}
    )
    assert [(kind, used, left) for kind, _, used, left, _ in levels[3:]] == [
        ("concurrent", 3, 0.0),
        ("budget", 10.0, 0.0),
    ]


def test_only_the_counters_of_limits_are_read() -> None:
    asked: list[str] = []

    def read(rows: Sequence[str]) -> Mapping[str, Counter]:
        asked.extend(rows)
        return {"key:a/rpm": Counter(UNITS, int(NOW * 1e6))}

    reader = LimitReader({}, CALENDAR, NOW).with_counters(read, [SUBJECT])
    within = [f"key:a/model:gpt-*/{row}" for row in ("rpm", "tpm", "concurrent", "budget/total")]
    assert asked == ["key:a/rpm", *within]
    assert reader.levels(SUBJECT)[0]["used"] == 1.0
    assert LimitReader({}, CALENDAR, NOW).with_counters(read, []).counters == {}
