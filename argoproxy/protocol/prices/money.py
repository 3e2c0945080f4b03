"""Amounts of money as decimal text, and as whole billionths of the currency's unit. No float is
calculated with."""

from __future__ import annotations

import re
from typing import Any

PLACES = 9
NANOS = 10**9
#: Far more than any price or budget, and a million requests of it still fit into 64 bits.
MOST_NANOS = 10**9 * NANOS

_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{0,20}))?(?:[eE]([+-]?\d{1,2}))?")


def parse_amount(value: Any) -> int:
    """Parse an amount, a number or its text, into billionths. Raises ValueError with what is wrong."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be an amount, such as 2.50")  # noqa: TRY004 as all parsers
    # The shortest text of a float is the one that it was written as, up to 15 digits.
    match = _AMOUNT.fullmatch(repr(value) if isinstance(value, float) else str(value).strip())
    if not match:
        raise ValueError("must be an amount that is not negative, such as 2.50")
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    shift = PLACES + int(match.group(3) or 0) - len(fraction)
    digits = int(whole + fraction)
    nanos: int
    nanos, lost = divmod(digits * 10 ** max(shift, 0), 10 ** max(-shift, 0))
    if lost:
        raise ValueError(f"must have at most {PLACES} decimal places")
    if nanos > MOST_NANOS:
        raise ValueError("must be at most 1,000,000,000")
    return nanos


def to_number(nanos: int) -> float:
    """Return an amount as a number for JSON: its text is the exact amount, up to 15 digits."""
    return nanos / NANOS


def format_amount(nanos: int, places: int = 0) -> str:
    """Return an amount as exact decimal text, with at least as many decimal places: `0.0125`."""
    whole, fraction = divmod(abs(nanos), 10**PLACES)
    decimals = f"{fraction:0{PLACES}d}".rstrip("0").ljust(places, "0")
    return f"{'-' if nanos < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"
