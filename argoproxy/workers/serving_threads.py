"""The threads of a worker that serve requests."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

#: With more threads at work, clients take turns by the queue, because threads don't by the interpreter's lock: one that
#: releases it for a system call mostly gets it back first. At 32 busy clients, without this limit, half of the requests
#: take 8 ms and one in a hundred 65 ms, for 525 us of CPU; with it 12 and 32 ms, for 370 us (by the queue alone 20 and
#: 35 ms, for 685 us).
CALM = 8
#: Idle threads that are kept whatever comes.
SPARE = 2


class ServingThreads:
    """At most `limit` threads, started when they are needed, and ended when they were not needed for a while.

    A ThreadPoolExecutor costs some 5 us of CPU more for each request: it makes a Future with a lock and a
    condition of its own, and counts idle threads by a semaphore that is written in Python.
    """

    def __init__(self, limit: int, serve: Callable[[Any], None]) -> None:
        """`serve` is called with each connection; a thread in which it raises ends, and may be replaced."""
        self._limit = limit
        self._serve = serve
        self._queue = SimpleQueue[Any]()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        #: Threads that an end mark in the queue is for, and that have not ended yet.
        self._ending = 0
        #: Threads that wait for a connection, less the connections that wait for a thread: negative with a backlog.
        self._idle = 0
        #: The smallest number of idle threads since `end_unneeded` was called.
        self._least_idle = 0
        # Threads are daemons, because the interpreter would wait for idle ones too; those that serve end in `_stop`.
        atexit.register(self._stop)

    def submit(self, conn: Any) -> None:
        """Have a connection served. Raises RuntimeError when there is no thread and the system can start none."""
        self._queue.put(conn)
        with self._lock:
            if self._idle > 0 or len(self._threads) - self._ending >= self._limit:
                self._idle -= 1
                self._least_idle = min(self._least_idle, self._idle)
                return
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._threads.remove(thread)
                self._idle -= 1
                self._least_idle = min(self._least_idle, self._idle)
            if not self._threads:
                raise

    def end_unneeded(self) -> None:
        """End the threads that were not needed since the last call: as many as were idle at every moment."""
        with self._lock:
            unneeded = max(0, self._least_idle - SPARE)
            self._idle -= unneeded
            self._ending += unneeded
            self._least_idle = self._idle
        for _ in range(unneeded):
            self._queue.put(None)

    def is_calm(self) -> bool:
        """Return whether a thread may wait for one client alone: no connection is in the queue, half of the threads
        could serve others, and few are at work."""
        at_work = len(self._threads) - self._ending - self._idle
        return at_work <= min(CALM, self._limit // 2) and self._queue.empty()

    def _work(self) -> None:
        was_told = False
        try:
            while (conn := self._queue.get()) is not None:
                self._serve(conn)
                del conn  # else it would be kept until the next one comes
                with self._lock:
                    self._idle += 1
            was_told = True
        finally:
            with self._lock:
                self._threads.remove(threading.current_thread())
                self._ending -= was_told

    def _stop(self) -> None:
        """Wait until all that was submitted is served, and end the threads."""
        with self._lock:
            threads, unasked = tuple(self._threads), len(self._threads) - self._ending
            self._ending += unasked
        for _ in range(unasked):
            self._queue.put(None)
        for thread in threads:
            thread.join()
