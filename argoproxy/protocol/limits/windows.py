"""Calendar periods of budgets: their names, which are part of a counter's row, and their ends.

`2026-11-23` is a day, `2026-W48` a week of ISO 8601 (from Monday), `2026-11` a month, `total` all time. A period begins
at midnight in the zone of the setting. Days of 23 and 25 hours, and zones in which there is no midnight on the day on
which clocks change, are no exceptions: the zone is asked for dates alone.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable
from typing import NamedTuple

from argoproxy.protocol.limits.limits import Period

#: Gives the date (year, month, day) of a moment (seconds since 1970) in a zone.
LocalDate = Callable[[float], tuple[int, int, int]]

_DAY_S = 86_400
#: No zone is further away from UTC.
_FURTHEST_S = 26 * 3600
#: 1970-01-01 was a Thursday.
_FIRST_WEEKDAY = 3


class Window(NamedTuple):
    """A period: its name, and its end in seconds since 1970, None if there is none."""

    name: str
    ends_at: float | None


class BudgetCalendar:
    """The periods of a zone. The ones that were found last are remembered: they change once a day."""

    def __init__(self, local_date: LocalDate) -> None:
        self._local_date = local_date
        self._recent: dict[Period, tuple[float, Window]] = {}

    def window(self, period: Period, now: float) -> Window:
        """Return the period in which a moment is."""
        found_at, window = self._recent.get(period, (now, None))
        if window is None or not found_at <= now < (window.ends_at or float("inf")):
            window = find_window(period, now, self._local_date)
            self._recent[period] = (now, window)
        return window


def find_window(period: Period, now: float, local_date: LocalDate) -> Window:
    """Return the period in which a moment is."""
    if period == Period.TOTAL:
        return Window("total", None)
    year, month, day = local_date(now)
    today = _day_number(year, month, day)
    if period == Period.DAY:
        name, next_day = f"{year:04}-{month:02}-{day:02}", today + 1
    elif period == Period.WEEK:
        monday = today - (today + _FIRST_WEEKDAY) % 7
        name, next_day = _name_week(monday, year), monday + 7
    else:
        name, next_day = f"{year:04}-{month:02}", _day_number(year + month // 12, month % 12 + 1, 1)
    return Window(name, float(_find_begin(next_day, local_date)))


def _name_week(monday: int, year: int) -> str:
    """Return the name of a week: it belongs to the year in which its Thursday is."""
    thursday = monday + 3
    of_year = next(one for one in (year + 1, year, year - 1) if thursday >= _day_number(one, 1, 1))
    return f"{of_year:04}-W{(thursday - _day_number(of_year, 1, 1)) // 7 + 1:02}"


def _find_begin(day: int, local_date: LocalDate) -> int:
    """Return the first second of a day, by its number."""
    before, after = day * _DAY_S - _FURTHEST_S, day * _DAY_S + _FURTHEST_S
    while after - before > 1:
        middle = (before + after) // 2
        if _day_number(*local_date(middle)) < day:
            before = middle
        else:
            after = middle
    return after


def _day_number(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date."""
    return timegm((year, month, day, 0, 0, 0)) // _DAY_S
