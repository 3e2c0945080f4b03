"""What headers say about trying again."""

from __future__ import annotations

import math

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.resilience.retry_hints import (
    forbids_fallback,
    forbids_retry,
    is_retried_by_client,
    patience_s,
    retry_after_s,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        ((("Retry-After", "3"),), 3.0),
        ((("Retry-After", " 0.5 "),), 0.5),
        ((("retry-after-ms", "250"),), 0.25),
        ((("Retry-After", "9"), ("Retry-After-Ms", "1500")), 1.5),
        ((("Retry-After", "9"), ("retry-after-ms", "soon")), 9.0),
        ((("Retry-After", "Tue, 14 Nov 2023 22:13:50 GMT"),), 30.0),
        ((("Retry-After", "Tue, 14 Nov 2023 22:13:00 GMT"),), 0.0),
        ((("Retry-After", "later"),), None),
        ((("Retry-After", "-1"),), None),
        ((("Retry-After", "1e9"),), None),
        ((("Retry-After", "Tue, 14 Nov 99999 22:13:00 GMT"),), None),
    ],
)
def test_the_time_to_come_back_is_read(headers: Headers, seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def test_an_upstream_can_forbid_a_retry() -> None:
    assert forbids_retry((("X-Should-Retry", "false"),))
    assert not forbids_retry((("x-should-retry", "true"),))
    assert not forbids_retry(())


def test_an_sdk_that_makes_its_own_retries_is_known_by_their_count() -> None:
    assert [is_retried_by_client((("X-Stainless-Retry-Count", count),)) for count in ("0", "2")] == [True, True]
    assert not is_retried_by_client(())


def test_a_client_tells_how_long_it_waits() -> None:
    assert patience_s((("x-stainless-read-timeout", "600"),)) == 600
    assert patience_s((("x-stainless-read-timeout", "0"),)) == math.inf
    assert patience_s(()) == math.inf


def test_a_client_can_refuse_spares() -> None:
    assert forbids_fallback((("X-No-Fallback", "true"),))
    assert not forbids_fallback((("X-No-Fallback", "false"),))
    assert not forbids_fallback(())
    with pytest.raises(BadRequest, match="X-No-Fallback must be true or false"):
        forbids_fallback((("X-No-Fallback", "maybe"),))
