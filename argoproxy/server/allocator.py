"""Have the C library give freed memory back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: Larger blocks are mapped on their own, and go back to the system when they are freed.
LARGE_BLOCK = 1024 * 1024
#: Parameters of mallopt (malloc.h of glibc).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def return_large_blocks() -> None:
    """Make glibc return large blocks at once.

    By default it raises its threshold up to 32 MiB with each large block that is freed (mallopt(3), "dynamic mmap
    threshold"), and keeps such blocks from then on: after one body of 16 MB a worker holds some 50 MB more. Other C
    libraries have no mallopt, and need none.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        library.mallopt(_M_TRIM_THRESHOLD, LARGE_BLOCK)
