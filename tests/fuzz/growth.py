"""Whether CPU time grows linearly: judged by the ratio of two sizes, never by a clock alone."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

InputT = TypeVar("InputT")

#: CPU seconds that the smaller size must take to be told from the clock's resolution.
MEASURABLE_S = 0.002
#: Quadratic work takes measurable time on the largest, be it a scan for one byte: what takes none there is linear.
SIZES = (256, 512, 1024, 2048, 4096, 8192)
FACTOR = 4
#: Linear work takes 4 times as long for 4 times as much, quadratic work 16 times.
MOST = 8.0
TRIES = 4


def cpu_s(work: Callable[[InputT], object], made: InputT) -> float:
    """Return the CPU time of one run, in seconds."""
    begun = time.thread_time()
    work(made)
    return time.thread_time() - begun


def growth(make: Callable[[int], InputT], work: Callable[[InputT], object]) -> float:
    """Return how many times longer 4 times as much takes, at the first size that takes measurable time; 0.0 where none
    does."""
    gc.disable()
    try:
        for size in SIZES:
            made = make(size)
            if cpu_s(work, made) >= MEASURABLE_S:
                return _ratio(made, make(FACTOR * size), work)
        return 0.0
    finally:
        gc.enable()


def _ratio(small: InputT, large: InputT, work: Callable[[InputT], object]) -> float:
    """Measure both sizes by turns, the best of each, until the ratio is one of linear work or the tries are over."""
    best_small = best_large = float("inf")
    for _ in range(TRIES):
        best_small = min(best_small, cpu_s(work, small))
        best_large = min(best_large, cpu_s(work, large))
        if best_large < MOST * best_small:
            break
    return best_large / best_small
