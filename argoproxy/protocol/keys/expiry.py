"""Moments and durations as operators write them: `2026-12-31`, `2026-12-31T18:00Z`, `90d`, `12h`."""

from __future__ import annotations

import calendar
import re
from typing import Any

DAY_S = 86_400.0
#: Ten years; a later moment is a mistake of units.
LONGEST_S = 3660 * DAY_S
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|\+00:00)?)?")


def parse_duration(value: Any) -> float:
    """Parse a duration to seconds: `24h`, `7d`, `0`, or a number of seconds. Raises ValueError."""
    text = str(value).strip().lower()
    match = _DURATION.fullmatch(text if text[-1:] in _UNIT_S else f"{text}s")
    duration_s = float(match[1]) * _UNIT_S[match[2]] if match and not isinstance(value, bool) else LONGEST_S + 1
    if duration_s > LONGEST_S:
        raise ValueError("must be a duration, such as 24h, 7d or 0")
    return duration_s


def parse_moment(value: Any) -> float:
    """Parse a date, whose end in UTC is meant, or a moment in UTC, to seconds since 1970. Raises ValueError."""
    match = _MOMENT.fullmatch(str(value).strip())
    if not match:
        raise ValueError("must be a date such as 2026-12-31, or a moment in UTC such as 2026-12-31T18:00Z")
    year, month, day, *clock = (int(part) if part else 0 for part in match.groups())
    hour, minute, second = clock
    is_date = 1 <= month <= 12 and year >= 1970 and 1 <= day <= calendar.monthrange(year, month)[1]
    if not is_date or hour > 23 or minute > 59 or second > 59:
        raise ValueError("is a date or a time of day that does not exist")
    moment = float(calendar.timegm((year, month, day, hour, minute, second)))
    return moment if match[4] else moment + DAY_S


def parse_expiry(value: Any, now: float) -> float | None:
    """Parse when a key ends: a date, a moment, a duration from now on, or `never`. Raises ValueError."""
    text = str(value).strip().lower()
    if text == "never":
        return None
    if _DURATION.fullmatch(text):
        return now + parse_duration(text)
    try:
        return parse_moment(str(value).upper())
    except ValueError as error:
        raise ValueError(f"{error}, a duration such as 90d, or never") from None
