from __future__ import annotations

import pytest

from argoproxy.protocol.limits.buckets import UNITS
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind
from argoproxy.protocol.limits.rate_headers import format_duration, make_rate_headers, replace_rate_headers


def claim(subject: str, kind: LimitKind, limit: int) -> Claim:
    return Claim(f"{subject}/{kind}", kind, subject, limit, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (0.0001, "1ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (90.5, "1m30.5s"),
        (3600, "1h0m0s"),
        (-1, "0s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_tightest_limit_of_each_unit_is_shown() -> None:
    claims = [
        claim("global", LimitKind.RPM, 100),
        claim("key:a", LimitKind.RPM, 60),
        claim("key:a", LimitKind.TPM, 0),
        claim("team:t", LimitKind.TPM, 10),
        claim("key:a", LimitKind.CONCURRENT, 3),
        claim("team:t", LimitKind.RPM, 6),
    ]
    used = (98, 1, 0, 14, 1, 5)
    counters = [(amount * UNITS, 0) for amount in used]
    assert make_rate_headers(Admission(None, None, claims, counters)) == (
        ("x-ratelimit-limit-requests", "100"),
        ("x-ratelimit-remaining-requests", "2"),
        ("x-ratelimit-reset-requests", "58.8s"),
        ("x-ratelimit-limit-tokens", "10"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1m24s"),
    )


def test_own_headers_stand_in_place_of_the_upstream_s_about_the_same() -> None:
    theirs = (("A", "b"), ("X-RateLimit-Limit-Requests", "9"), ("x-ratelimit-limit-tokens", "8"))
    own = (("x-ratelimit-limit-requests", "60"),)
    assert replace_rate_headers(theirs, own) == (theirs[0], theirs[2], *own)
