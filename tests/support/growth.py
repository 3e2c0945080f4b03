"""How work grows with what it is given: judged as a ratio of two sizes, so that no machine is too slow for it."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from time import thread_time

#: The larger size, in smaller ones. Linear work takes 8 times as long, quadratic work 64 times.
FACTOR = 8
#: Where linear ends: far from both, for caches and neighbours take their share.
MOST = 3 * FACTOR
ATTEMPTS = 5


def cpu_s(work: Callable[[int], object], size: int) -> float:
    """Return the CPU seconds that this thread spends on work of a size."""
    gc.disable()
    begun = thread_time()
    try:
        work(size)
    finally:
        gc.enable()
    return thread_time() - begun


def assert_linear(work: Callable[[int], object], size: int) -> None:
    """Assert that work of FACTOR times the size takes about FACTOR times as long; the best of some attempts counts."""
    small = large = math.inf
    for _ in range(ATTEMPTS):
        small, large = min(small, cpu_s(work, size)), min(large, cpu_s(work, FACTOR * size))
        if large < MOST * small:
            return
    raise AssertionError(
        f"{FACTOR} times the size takes {large / small:.0f} times as long ({small:.4f} s, {large:.4f} s)"
    )
