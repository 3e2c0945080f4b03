"""Budgets of a day begin anew at midnight of their zone, to the second, on days of any length."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.limits.limited import Limited, StartLimited, cost_of
from tests.limits.metered import document
from tests.limits.zone_file import DAY_S, HOUR_S, ZONE, Change, midnight_in, offset_of_midnight, write_zone
from tests.support.client import Answer
from tests.support.storm import IS_FULL

#: How long before midnight a proxy starts; twice as long when that was too late.
FIRST_S = 15.0

#: Writes a zone whose day ends at a moment.
WriteZone = Callable[[Path, int], Path]


def plain(folder: Path, midnight: int) -> Path:
    return write_zone(folder, offset_of_midnight(midnight))


def longer_day(folder: Path, midnight: int) -> Path:
    """The day that ends has 25 hours."""
    after = offset_of_midnight(midnight)
    return write_zone(folder, after + HOUR_S, [Change(midnight - 2 * HOUR_S, after)])


def shorter_day(folder: Path, midnight: int) -> Path:
    """The day that ends has 23 hours."""
    after = offset_of_midnight(midnight)
    return write_zone(folder, after - HOUR_S, [Change(midnight - 2 * HOUR_S, after)])


def no_midnight(folder: Path, midnight: int) -> Path:
    """The clock goes from midnight to one o'clock."""
    before = offset_of_midnight(midnight)
    return write_zone(folder, before, [Change(midnight, before + HOUR_S)])


def later_changes(folder: Path, midnight: int) -> Path:
    """The day that begins has 25 hours."""
    before = offset_of_midnight(midnight)
    return write_zone(folder, before, [Change(midnight + 2 * HOUR_S, before - HOUR_S)])


def spend(limited: Limited, name: str, period: str = "day") -> str:
    """Spend the budget of a period, and return the key."""
    key = limited.new_key(name, budget=f"1.5/{period}", reserve="max")
    assert limited.chat(key, limited.script(document(3, 1000)), max_tokens=1000).status == 200
    limited.settled(name, 1)
    return key


@pytest.mark.parametrize("worker_class", ["gthread"], indirect=True)
@pytest.mark.parametrize("write", [plain])
def test_reset_in_zone(limited_with: StartLimited, name: str, tmp_path: Path, write: WriteZone) -> None:
    check_midnight(limited_with, name, tmp_path, write)


@pytest.mark.parametrize("worker_class", ["gthread"], indirect=True)
@pytest.mark.parametrize(
    "write", [longer_day, shorter_day, no_midnight, later_changes] if IS_FULL else [longer_day, no_midnight]
)
def test_dst_day(limited_with: StartLimited, name: str, tmp_path: Path, write: WriteZone) -> None:
    check_midnight(limited_with, name, tmp_path, write)


def check_midnight(limited_with: StartLimited, name: str, folder: Path, write: WriteZone) -> None:
    """Spend the budget of a day that ends soon, and ask until the next one has begun."""
    ahead_s = FIRST_S
    while True:
        midnight = midnight_in(ahead_s)
        zones = write(folder / f"zones-{ahead_s:.0f}", midnight)
        limited = limited_with(budget_zone=ZONE, PYTHONTZPATH=str(zones))
        key = spend(limited, f"{name[:50]}-{ahead_s:.0f}")
        if time.time() < midnight - 1:
            break
        ahead_s *= 2
    while (asked := time.time()) < midnight + 1:
        answer = limited.chat(key, max_tokens=1000)
        if time.time() < midnight:
            assert answer.status == 429
            assert_told_until(answer, midnight, asked, time.time())
        elif asked >= midnight:
            assert answer.status == 200
            break
        time.sleep(0.2)
    assert limited.chat(key, max_tokens=1000).status in (200, 429)
    assert cost_of(limited.entries(f"{name[:50]}-{ahead_s:.0f}")) > 0


def assert_told_until(answer: Answer, moment: int, asked: float, answered: float) -> None:
    """Check that a refusal tells when the period is over, and that waiting for it is not for a client to decide."""
    assert answer.error["code"] == "insufficient_quota"
    assert answer.header("x-should-retry") == "false"
    told = float(answer.header("Retry-After"))
    assert math.floor(moment - answered) <= told <= math.ceil(moment - asked)


def test_reset_expectable(limited: Limited, name: str) -> None:
    """The day of a budget ends at midnight in UTC, whenever it was first used."""
    key = spend(limited, name)
    while True:
        asked = time.time()
        answer = limited.chat(key, max_tokens=1000)
        answered = time.time()
        if int(asked) // DAY_S == int(answered) // DAY_S:
            break
    assert_told_until(answer, (int(asked) // DAY_S + 1) * DAY_S, asked, answered)


@pytest.mark.parametrize("period", ["week", "month", "total"])
def test_longer_periods_are_not_waited_for(limited: Limited, name: str, period: str) -> None:
    """A client is told when to come back only if that is within a day."""
    answer = limited.chat(spend(limited, name, period), max_tokens=1000)
    assert (answer.status, answer.error["param"]) == (429, "key.budget")
    assert answer.header("x-should-retry") == "false"
    told = answer.header("Retry-After")
    assert not told or (period != "total" and float(told) <= DAY_S)
