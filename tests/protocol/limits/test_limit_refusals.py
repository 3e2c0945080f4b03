from __future__ import annotations

import pytest

from argoproxy.protocol.limits.limit_refusals import LONGEST_WAIT_S, make_refusal
from argoproxy.protocol.limits.limits import Claim, LimitKind


def claim(subject: str, kind: LimitKind, limit: int = 60) -> Claim:
    return Claim(f"{subject}/{kind}", kind, subject, limit, 1)


@pytest.mark.parametrize(
    ("subject", "param", "whose"),
    [
        ("global", "global.rpm", "this proxy"),
        ("key:k-secret", "key.rpm", "this key"),
        ("team:crew", "team.rpm", "the team of this key"),
        ("model:gpt-*", "model.rpm", "this model"),
        ("upstream:up", "upstream.rpm", "the upstream"),
        ("key:k-secret/model:gpt-*", "key.model.rpm", "this key for this model"),
        ("team:crew/model:a/model:b", "team.model.rpm", "the team of this key for this model"),
    ],
)
def test_the_limit_is_named_and_no_key(subject: str, param: str, whose: str) -> None:
    error = make_refusal(claim(subject, LimitKind.RPM), 2.0001)
    assert (error.status, error.code, error.param) == (429, "rate_limit_exceeded", param)
    assert error.message == f"The limit on requests a minute of {whose} is reached; try again later."
    assert "secret" not in error.message
    assert error.headers == (("Retry-After", "3"), ("retry-after-ms", "2001"))


@pytest.mark.parametrize("kind", [LimitKind.RPM, LimitKind.TPM, LimitKind.CONCURRENT, LimitKind.BUDGET])
def test_waiting_can_not_help_where_nothing_is_allowed(kind: LimitKind) -> None:
    error = make_refusal(claim("key:a", kind, 0), None)
    assert error.headers == (("x-should-retry", "false"),)


def test_a_request_larger_than_the_limit_is_never_admitted() -> None:
    error = make_refusal(claim("key:a", LimitKind.TPM), None)
    assert "larger" in error.message
    assert error.headers == (("x-should-retry", "false"),)


@pytest.mark.parametrize(
    ("wait_s", "headers"),
    [
        (LONGEST_WAIT_S, (("Retry-After", "86400"), ("x-should-retry", "false"))),
        (LONGEST_WAIT_S + 1, (("x-should-retry", "false"),)),
        (None, (("x-should-retry", "false"),)),
    ],
)
def test_no_client_sleeps_through_a_month(wait_s: float | None, headers: object) -> None:
    error = make_refusal(claim("team:t", LimitKind.BUDGET), wait_s)
    assert (error.code, error.type, error.param) == ("insufficient_quota", "insufficient_quota", "team.budget")
    assert error.headers == headers
