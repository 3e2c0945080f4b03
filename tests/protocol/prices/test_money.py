"""Amounts of money are exact: decimal text in, billionths out, and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.prices.money import MOST_NANOS, format_amount, parse_amount, to_number


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("5", 5 * 10**9),
        (5, 5 * 10**9),
        (0.1, 10**8),
        (0.0028, 2_800_000),
        (1e-07, 100),
        (3.0, 3 * 10**9),
        ("0.10", 10**8),
        (" 2.50 ", 2_500_000_000),
        ("0.000000001", 1),
        ("1e-9", 1),
        ("1.5E2", 150 * 10**9),
        ("7.", 7 * 10**9),
        ("1000000000", MOST_NANOS),
        ("0.10000000000", 10**8),
    ],
)
def test_an_amount_is_read_exactly(text: object, nanos: int) -> None:
    assert parse_amount(text) == nanos


@pytest.mark.parametrize("text", [True, None, [], "", "-1", "1,5", ".5", "$5", "nan", "inf", float("nan"), -0.5, "1 2"])
def test_what_is_no_amount_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be an amount"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["0.0000000001", 1e-10, "1.0000000001"])
def test_digits_beyond_billionths_are_not_dropped_in_silence(text: object) -> None:
    with pytest.raises(ValueError, match="at most 9 decimal places"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["1000000000.1", "9999999999", "1e99", 1e22])
def test_an_amount_has_a_bound(text: object) -> None:
    with pytest.raises(ValueError, match="must be at most"):
        parse_amount(text)


@given(st.decimals(min_value=0, max_value=10**9, places=9))
def test_every_amount_survives_being_written_and_read(amount: Decimal) -> None:
    nanos = parse_amount(f"{amount:f}")
    assert nanos == int(amount * 10**9)
    assert parse_amount(format_amount(nanos)) == nanos


@pytest.mark.parametrize(
    ("nanos", "places", "text"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (12_500_000, 0, "0.0125"),
        (12_500_000, 2, "0.0125"),
        (5 * 10**9, 2, "5.00"),
        (1, 0, "0.000000001"),
        (-1_500_000_000, 2, "-1.50"),
    ],
)
def test_an_amount_is_written_exactly(nanos: int, places: int, text: str) -> None:
    assert format_amount(nanos, places) == text


@given(st.integers(0, 10**15 - 1))
def test_a_number_for_json_has_the_text_of_the_amount(nanos: int) -> None:
    assert parse_amount(to_number(nanos)) == nanos
