"""Run functions in threads and wait for their results, while the client is watched.

All threads are daemons: a function that can't be interrupted (a name lookup) must not keep a worker from ending, as the
threads of a ThreadPoolExecutor do.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from argoproxy.transport.watch import Watch

ResultT = TypeVar("ResultT")


class Threads:
    """Daemon threads, at most `limit` at a time. Work beyond that waits for its turn; a thread ends as soon as no work
    is left."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def run(self, work: Callable[[], None]) -> None:
        """Run a function that raises nothing. Raises RuntimeError when the system can start no thread."""
        with self._lock:
            if self._running >= self._limit:
                self._waiting.append(work)
                return
            self._running += 1
        try:
            threading.Thread(target=self._work, args=(work,), daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._running -= 1
            raise

    def _work(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            with self._lock:
                work = self._waiting.popleft() if self._waiting else None
                if work is None:
                    self._running -= 1


class Bell:
    """A descriptor that any thread can make readable. That may be after it was closed, when its number belongs to
    another connection: so closing and ringing exclude each other."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def ring(self) -> None:
        """Make the descriptor readable. Never blocks."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1


class _Countdown:
    """Rings a bell when `count` futures are done."""

    def __init__(self, count: int, bell: Bell) -> None:
        self._bell = bell
        self._lock = threading.Lock()
        self.left = count

    def count(self, _: Future[Any]) -> None:
        with self._lock:
            self.left -= 1
        if not self.left:
            self._bell.ring()


def submit_all(works: Iterable[Callable[[], ResultT]], threads: Threads, most: int) -> list[Future[ResultT]]:
    """Start functions in threads, at most `most` of them side by side, and return their futures in the same order."""
    waiting = deque((Future[ResultT](), work) for work in works)
    futures = [future for future, _ in waiting]

    def drain() -> None:
        with suppress(IndexError):
            while True:
                fulfil(*waiting.popleft())

    for _ in range(min(most, len(futures))):
        threads.run(drain)
    return futures


def run_in_parallel(works: Sequence[Callable[[], ResultT]], seconds: float, watch: Watch) -> list[Future[ResultT]]:
    """Run functions side by side and wait until all are done or the time is over. Return their futures in the same
    order; what is not done goes on by itself. Raises ClientGone."""
    futures = submit_all(works, Threads(len(works)), len(works))
    wait_for(futures, seconds, watch)
    return futures


def wait_for(futures: Collection[Future[Any]], seconds: float, watch: Watch) -> None:
    """Wait until all futures are done or the time is over. Raises ClientGone."""
    until = time.monotonic() + seconds
    bell = Bell()
    countdown = _Countdown(len(futures), bell)
    watch.unregister()
    try:
        for future in futures:
            future.add_done_callback(countdown.count)
        while countdown.left and (left_s := until - time.monotonic()) > 0:
            watch.wait(bell, left_s)
    finally:
        watch.unregister()
        bell.close()


def run_natively(work: Callable[[], ResultT]) -> ResultT:
    """Run a function that computes for long and releases the interpreter's lock. Under gevent it runs in a native
    thread, so that the other greenlets go on."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return work()
    result: ResultT = sys.modules["gevent"].get_hub().threadpool.apply(work)
    return result


def fulfil(future: Future[ResultT], work: Callable[[], ResultT]) -> None:
    """Run a function and store its result or its error in a future, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 raised by future.result()
        future.set_exception(error)
        del future, work  # else a cycle: the future holds the error, its traceback this frame
