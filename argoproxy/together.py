"""Work done side by side, while one client is watched and a clock runs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from argoproxy.watch import Watch

ResultT = TypeVar("ResultT")


def side_by_side(works: Sequence[Callable[[], ResultT]], seconds: float, watch: Watch) -> list[Future[ResultT]]:
    """Do all works at once, each in a thread of its own, and wait until all are done, no longer than that: what they
    came to, in their order. One that is not done goes on by itself. Raises ClientGone."""
    pool = ThreadPoolExecutor(max(1, len(works)))
    futures = [pool.submit(work) for work in works]
    try:
        wait_for(futures, seconds, watch)
    finally:
        pool.shutdown(wait=False)
    return futures


def wait_for(futures: Collection[Future[Any]], seconds: float, watch: Watch) -> None:
    """Wait until all are done, no longer than that. Raises ClientGone."""
    until = time.monotonic() + seconds
    ours, theirs = socket.socketpair()
    watch.forget()

    def wake(_: Future[Any]) -> None:
        with suppress(OSError):
            theirs.send(b".")

    try:
        for future in futures:
            future.add_done_callback(wake)
        while not all(future.done() for future in futures) and (left_s := until - time.monotonic()) > 0:
            if watch.wait(ours, left_s):
                ours.recv(4096)
    finally:
        watch.forget()
        ours.close()
        theirs.close()
