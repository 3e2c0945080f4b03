"""What is remembered between requests."""

from __future__ import annotations

import threading
import time

import pytest

from argoproxy.errors import UpstreamTimeout
from argoproxy.pipeline.shared.caches import SingleFlight


def test_work_is_shared_by_those_who_want_it_at_the_same_time() -> None:
    done, came = list[int](), threading.Semaphore(0)

    def work() -> int:
        for _ in range(5 * (not done)):
            assert came.acquire(timeout=60)
        time.sleep(0.5)  # for the last of them to get from there to here
        done.append(1)
        return len(done)

    def want() -> None:
        came.release()
        results.append(shared.result())

    shared, results = SingleFlight(work), list[int]()
    threads = [threading.Thread(target=want) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 5
    assert shared.result() == 2


def test_shared_work_that_fails_fails_for_all_and_is_tried_again() -> None:
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")
        return 7

    shared = SingleFlight(work)
    with pytest.raises(ValueError, match="first"):
        shared.result()
    assert shared.result() == 7


def test_shared_work_is_done_anew_when_its_result_was_kept_for_long_enough() -> None:
    now, done = [100.0], list[int]()

    def work() -> int:
        done.append(len(done))
        return done[-1]

    shared = SingleFlight(work, 1.0, lambda: now[0])
    assert [shared.result(), shared.result()] == [0, 0]
    now[0] += 0.999
    assert shared.result() == 0
    now[0] += 0.001
    assert [shared.result(), shared.result()] == [1, 1]


def test_a_failure_of_shared_work_is_not_kept() -> None:
    asked = list[int]()

    def work() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError("first")
        return len(asked)

    shared = SingleFlight(work, 1.0, lambda: 0.0)
    with pytest.raises(ValueError, match="first"):
        shared.result()
    assert shared.result() == 2


def test_shared_work_of_another_request_is_not_waited_for_without_end() -> None:
    started, end = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        end.wait()

    shared = SingleFlight(work, max_wait_s=0.01)
    first = threading.Thread(target=shared.result)
    first.start()
    started.wait()
    with pytest.raises(UpstreamTimeout):
        shared.result()
    end.set()
    first.join()


def test_a_time_out_that_shared_work_raises_is_its_own() -> None:
    def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        SingleFlight(work).result()
