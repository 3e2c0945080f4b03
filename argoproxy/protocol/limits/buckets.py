"""Token buckets in whole numbers: how much of a limit a minute is used, which falls as time passes.

What is used is counted in units of 1/60,000,000 of a request or a token, so that it falls by exactly `limit` units a
microsecond. It is not the rest that is counted: a limit that was changed holds for the next request.
"""

from __future__ import annotations

from typing import NamedTuple

#: The units of one request or token.
UNITS = 60_000_000
#: Counters are kept in 64 bits.
MOST_USED = 2**62
#: A clock that is behind by less is that of a request which waited for its turn: what it gave back would be given back
#: twice. One that is further behind was set.
LATEST_US = 5_000_000


class Counter(NamedTuple):
    """How much of a limit is used, in the unit of its kind, and the moment (microseconds since 1970) of a bucket. Where
    each request has some, they are plain tuples, which take a third of the time to make."""

    used: int = 0
    at_us: int = 0


UNUSED = Counter()


def drain_bucket(used: int, at_us: int, limit: int, now_us: int) -> tuple[int, int]:
    """Return a bucket as it is now. A clock that was set back drains nothing, and what is used then falls from that
    moment on: no bucket blocks longer than it would have."""
    elapsed_us = now_us - at_us
    if elapsed_us > 0:
        used -= elapsed_us * limit
        return (max(0, used)), now_us
    return used, (at_us if elapsed_us > -LATEST_US else now_us)


def wait_for_us(used: int, limit: int, amount: int) -> int | None:
    """Return the microseconds until a drained bucket has room for an amount: 0 if it has, None if it never will."""
    if amount > limit or not limit:
        return None
    excess = used + (amount - limit) * UNITS
    return -(-excess // limit) if excess > 0 else 0
