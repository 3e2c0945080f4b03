from __future__ import annotations

import pytest

from argoproxy.images.inline import fair_share


@pytest.mark.parametrize(
    ("sizes", "limit", "share"),
    [
        ([], 100, 100),
        ([10, 20], 100, 100),
        ([100], 50, 50),
        ([100, 100], 50, 25),
        ([10, 200], 50, 40),
        ([200, 10, 300], 110, 50),
        ([1, 1, 1], 2, 0),
    ],
)
def test_small_ones_leave_what_they_do_not_need(sizes: list[int], limit: int, share: int) -> None:
    assert fair_share(sizes, limit) == share
    assert sum(min(size, share) for size in sizes) <= limit
