"""Periods of budgets, by the calendar of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.limits.limits import Period
from argoproxy.protocol.limits.windows import BudgetCalendar, LocalDate, Window, find_window

#: Zones whose clocks change at midnight, by half an hour, or that have left out a whole day, are among them.
ZONES = (
    "UTC Europe/Berlin America/New_York America/Sao_Paulo America/Havana Asia/Beirut Asia/Kathmandu Asia/Tehran "
    "Australia/Lord_Howe Pacific/Apia Pacific/Kiritimati Pacific/Pago_Pago Africa/Casablanca"
).split()
MOMENTS = st.floats(min_value=946_684_800, max_value=2_145_000_000)
HOUR_S = 3600


def dates_of(zone: str) -> LocalDate:
    info = ZoneInfo(zone)

    def local_date(at: float) -> tuple[int, int, int]:
        moment = datetime.fromtimestamp(at, info)
        return moment.year, moment.month, moment.day

    return local_date


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def expected_name(period: Period, day: date) -> str:
    year, week, _ = day.isocalendar()
    return {
        Period.DAY: day.isoformat(),
        Period.WEEK: f"{year:04}-W{week:02}",
        Period.MONTH: f"{day:%Y-%m}",
        Period.TOTAL: "total",
    }[period]


@given(st.sampled_from(ZONES), st.sampled_from(Period), MOMENTS)
def test_every_moment_is_in_the_period_of_its_date(zone: str, period: Period, now: float) -> None:
    local_date = dates_of(zone)
    window = find_window(period, now, local_date)
    assert window.name == expected_name(period, date(*local_date(now)))
    if window.ends_at is not None:
        assert find_window(period, window.ends_at, local_date).name != window.name
        assert find_window(period, window.ends_at - 1, local_date).name == window.name
        assert window.ends_at > now - 2 * HOUR_S  # where the clock goes back over midnight, an hour has two dates


@given(st.sampled_from(Period), st.lists(MOMENTS, min_size=1, max_size=20))
def test_what_is_remembered_of_a_calendar_changes_nothing(period: Period, moments: list[float]) -> None:
    calendar, local_date = BudgetCalendar(dates_of("Europe/Berlin")), dates_of("Europe/Berlin")
    for now in moments:
        assert calendar.window(period, now) == find_window(period, now, local_date)


@pytest.mark.parametrize(
    ("period", "now", "window"),
    [
        (Period.DAY, "2026-11-23T23:59:59", Window("2026-11-23", at("2026-11-24"))),
        (Period.DAY, "2028-02-28T12:00", Window("2028-02-28", at("2028-02-29"))),
        (Period.DAY, "2028-02-29T12:00", Window("2028-02-29", at("2028-03-01"))),
        (Period.MONTH, "2026-12-31T23:59", Window("2026-12", at("2027-01-01"))),
        (Period.WEEK, "2026-11-22T23:59", Window("2026-W47", at("2026-11-23"))),
        (Period.WEEK, "2027-01-03T12:00", Window("2026-W53", at("2027-01-04"))),
        (Period.WEEK, "2024-12-30T00:00", Window("2025-W01", at("2025-01-06"))),
        (Period.TOTAL, "2026-11-23", Window("total", None)),
    ],
)
def test_periods(period: Period, now: str, window: Window) -> None:
    assert find_window(period, at(now), dates_of("UTC")) == window


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-03-30", 24), ("2026-10-25", 25)])
def test_dst_day(day: str, hours: int) -> None:
    midnight = at(day, "Europe/Berlin")
    window = find_window(Period.DAY, midnight, dates_of("Europe/Berlin"))
    assert window == Window(day, midnight + hours * HOUR_S)


def test_week_start() -> None:
    for day in range(7):
        now = datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(days=day)
        assert find_window(Period.WEEK, now.timestamp(), dates_of("UTC")).name == "2026-W48"


def test_reset_in_zone() -> None:
    window = find_window(Period.DAY, at("2026-11-23T20:00"), dates_of("Asia/Tokyo"))
    assert window == Window("2026-11-24", at("2026-11-25", "Asia/Tokyo"))


def test_reset_expectable() -> None:
    """A period does not begin at the first use."""
    local_date = dates_of("UTC")
    ends = {find_window(Period.DAY, at(f"2026-11-23T{hour:02}:17"), local_date).ends_at for hour in range(24)}
    assert ends == {at("2026-11-24")}


def test_a_day_begins_when_the_clock_skips_its_midnight() -> None:
    window = find_window(Period.DAY, at("2018-11-03T12:00", "America/Sao_Paulo"), dates_of("America/Sao_Paulo"))
    assert window == Window("2018-11-03", at("2018-11-04T01:00", "America/Sao_Paulo"))


def test_a_day_that_a_zone_left_out_is_no_period() -> None:
    window = find_window(Period.DAY, at("2011-12-29T12:00", "Pacific/Apia"), dates_of("Pacific/Apia"))
    assert window == Window("2011-12-29", at("2011-12-31", "Pacific/Apia"))
