"""The threads that serve connections, without a worker."""

from __future__ import annotations

import threading

from argoproxy.workers.serving_threads import CALM, SPARE, ServingThreads
from tests.support.processes import eventually


class Work:
    """Serves connections, each until `go_on` is set."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.threads = threading.Semaphore(0), threading.Event(), set[threading.Thread]()

    def serve(self, _: object) -> None:
        self.threads.add(threading.current_thread())
        self.begun.release()
        self.go_on.wait()

    def living(self) -> int:
        return sum(thread.is_alive() for thread in self.threads)


def start(threads: ServingThreads, work: Work, count: int) -> None:
    for _ in range(count):
        threads.submit(object())
        assert work.begun.acquire(timeout=60)


def test_threads_are_calm_while_few_of_them_work() -> None:
    for limit, most in ((1, 0), (3, 1), (10 * CALM, CALM)):
        work = Work()
        threads = ServingThreads(limit, work.serve)
        start(threads, work, most)
        assert threads.is_calm()
        start(threads, work, 1)
        assert not threads.is_calm()
        work.go_on.set()


def test_threads_that_were_not_needed_end() -> None:
    work = Work()
    threads = ServingThreads(20, work.serve)
    start(threads, work, 10)
    threads.end_unneeded()
    assert work.living() == 10

    work.go_on.set()

    def some_have_ended() -> bool:
        threads.end_unneeded()
        return work.living() <= SPARE

    assert eventually(some_have_ended)
    assert work.living() == SPARE
    work.go_on.clear()
    start(threads, work, 12)
    assert work.living() == 12
    work.go_on.set()


def test_connections_are_served_after_more_came_at_once_than_there_may_be_threads() -> None:
    """Those that waited for a thread do not make threads that end seem idle."""
    limit, work = 2 * SPARE, Work()
    threads = ServingThreads(limit, work.serve)
    start(threads, work, limit)
    for _ in range(limit):
        threads.submit(object())
    work.go_on.set()
    for _ in range(limit):
        assert work.begun.acquire(timeout=60)

    def some_have_ended() -> bool:
        threads.end_unneeded()
        return work.living() <= SPARE

    assert eventually(some_have_ended)
    start(threads, work, 1)
    assert work.living() == SPARE
