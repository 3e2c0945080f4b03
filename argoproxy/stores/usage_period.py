"""From when until when usage is added up, as people write it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

from argoproxy.protocol.keys.expiry import parse_duration

TODAY = "today"


def parse_since(text: str, now: float, zone: tzinfo) -> float:
    """Parse the first moment that counts: the beginning of a day, a moment, or a duration ago; seconds since 1970.
    Raises ValueError."""
    return _parse_moment(text, now, zone, timedelta())


def parse_until(text: str, now: float, zone: tzinfo) -> float:
    """Parse the first moment that does not count any more: the end of a day, a moment, or a duration ago. Raises
    ValueError."""
    return _parse_moment(text, now, zone, timedelta(days=1))


def _parse_moment(text: str, now: float, zone: tzinfo, from_midnight: timedelta) -> float:
    try:
        if text == TODAY:
            return _begin(datetime.fromtimestamp(now, zone).date() + from_midnight, zone)
        if len(text) == len("2026-11-01"):
            return _begin(date.fromisoformat(text) + from_midnight, zone)
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        raise ValueError("must be a date such as 2026-11-01, a moment such as 2026-11-01T12:00, 7d, or today") from None


def _begin(day: date, zone: tzinfo) -> float:
    return datetime.combine(day, time(), zone).timestamp()
