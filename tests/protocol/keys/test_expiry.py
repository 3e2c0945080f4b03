from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.keys.expiry import DAY_S, parse_duration, parse_expiry, parse_moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), (60, 60), ("5m", 300), ("24h", DAY_S), ("7d", 7 * DAY_S), ("2W", 14 * DAY_S)],
)
def test_durations(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1d", "1.5h", "1y", True, None, "999999d", "1 d"])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31)))
def test_moments_are_those_of_utc(moment: datetime) -> None:
    aware = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_moment(aware.isoformat()) == parse_moment(f"{moment:%Y-%m-%d %H:%M:%S}Z") == aware.timestamp()
    midnight = aware.replace(hour=0, minute=0, second=0)
    assert parse_moment(f"{moment:%Y-%m-%d}") == midnight.timestamp() + DAY_S


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026",
        "2026-13-01",
        "2026-02-29",
        "2026-00-10",
        "2026-01-00",
        "1969-01-01",
        "2026-01-01T24:00",
        "2026-01-01T10:60",
        "2026-01-01T10:00:60",
        "2026-01-01T10:00+02:00",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a date|does not exist"):
        parse_moment(text)


def test_an_expiry_may_be_relative() -> None:
    assert parse_expiry("never", 5.0) is None
    assert parse_expiry("1h", 5.0) == 3605.0
    assert parse_expiry("1970-01-02t00:00z", 5.0) == DAY_S
    with pytest.raises(ValueError, match="or never"):
        parse_expiry("soon", 5.0)
