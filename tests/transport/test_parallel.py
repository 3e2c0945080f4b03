"""Work in threads, and waits for it: any number, bounded, and over when the client leaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from argoproxy.errors import ClientGone
from argoproxy.transport.parallel import Bell, Threads, fulfil, run_in_parallel, submit_all, wait_for
from argoproxy.transport.watch import Poller, Watch

ROOT = Path(__file__).resolve().parent.parent.parent
LONG_S = 30.0


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(None, Poller())
    yield watch
    watch.close()


def finished(work: Callable[..., object], *arguments: object) -> bool:
    """Run in a thread of its own, so that a wait without end fails a test instead of stopping all."""
    done = threading.Event()

    def run() -> None:
        work(*arguments)
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done.wait(LONG_S)


@pytest.mark.parametrize("count", [0, 1, 278, 279, 5000])
def test_any_number_of_futures_that_are_done_is_waited_for(count: int, watch: Watch) -> None:
    done: Future[int] = Future()
    done.set_result(1)
    assert finished(wait_for, [done] * count, 1.0, watch)


def test_futures_that_end_while_they_are_waited_for_wake_the_wait(watch: Watch) -> None:
    futures: list[Future[int]] = [Future() for _ in range(1000)]

    def end_all() -> None:
        for future in futures:
            future.set_result(1)

    threading.Timer(0.05, end_all).start()
    assert finished(wait_for, futures, LONG_S * 10, watch)


def test_a_wait_ends_when_its_time_is_over(watch: Watch) -> None:
    never: Future[int] = Future()
    assert finished(wait_for, [never], 0.01, watch)
    never.set_result(1)


def test_a_wait_ends_when_the_client_leaves() -> None:
    ours, theirs = socket.socketpair()
    watch = Watch(ours, Poller())
    never: Future[int] = Future()
    theirs.close()
    with pytest.raises(ClientGone):
        wait_for([never], LONG_S, watch)
    watch.close()
    ours.close()


def test_a_closed_bell_rings_nobody_elses_descriptor() -> None:
    bell, other = Bell(), os.eventfd(0, os.EFD_NONBLOCK)
    number = bell.fileno()
    bell.close()
    os.dup2(other, number)
    bell.ring()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(other)
    os.close(other)
    os.close(number)


def test_threads_are_limited_and_all_work_is_done(watch: Watch) -> None:
    threads, running, lock = Threads(3), [0, 0], threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
        time.sleep(0.001)
        with lock:
            running[0] -= 1

    futures = submit_all([work] * 100, threads, 50)
    wait_for(futures, LONG_S, watch)
    assert all(future.done() for future in futures)
    assert running[1] <= 3


def test_a_request_takes_no_more_threads_than_it_may(watch: Watch) -> None:
    names: set[int] = set()
    futures = submit_all([lambda: names.add(threading.get_ident())] * 50, Threads(100), 2)
    wait_for(futures, LONG_S, watch)
    assert len(names) <= 2


def test_threads_end_with_their_work(watch: Watch) -> None:
    before = threading.active_count()
    run_in_parallel([lambda: 1] * 20, LONG_S, watch)
    for thread in threading.enumerate()[before:]:
        thread.join(LONG_S)
    assert threading.active_count() <= before


def test_cancelled_work_is_not_begun() -> None:
    threads, gate, begun = Threads(1), threading.Event(), []
    first, second, last = submit_all([lambda: gate.wait(LONG_S), lambda: begun.append(1), lambda: True], threads, 1)
    assert second.cancel()
    gate.set()
    assert first.result(LONG_S)
    assert last.result(LONG_S)
    assert begun == []


def test_what_work_raises_is_the_futures() -> None:
    future: Future[float] = Future()
    fulfil(future, lambda: 1 / 0)
    assert isinstance(future.exception(), ZeroDivisionError)


def test_a_thread_that_can_not_be_started_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, done = Threads(1), threading.Event()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.run(done.set)
    threads.run(done.set)
    assert done.wait(LONG_S)


def test_work_that_hangs_does_not_keep_a_process_from_ending() -> None:
    code = (
        "import time; from argoproxy.transport.parallel import run_in_parallel; "
        "from argoproxy.transport.watch import Poller, Watch; "
        "run_in_parallel([lambda: time.sleep(600)], 0.01, Watch(None, Poller()))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_many_futures_take_a_linear_number_of_wakes(watch: Watch) -> None:
    """One wake, however many there are."""
    waits: list[float] = []
    plain = watch.wait
    watch.wait = lambda *arguments: waits.append(1) or plain(*arguments)  # type: ignore[func-returns-value, method-assign]
    with ThreadPoolExecutor(4) as pool:
        wait_for([pool.submit(time.sleep, 0.0001) for _ in range(500)], LONG_S, watch)
    assert len(waits) <= 2
