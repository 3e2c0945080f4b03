"""One request asks, and those with the same question wait for it; however it ends, they go on."""

from __future__ import annotations

import threading

from argoproxy.pipeline.caching.flights import Flights

KEY, OTHER = b"key", b"other"


class Wake:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_one_asks_at_a_time() -> None:
    flights = Flights(10)
    assert [flights.begin(key) for key in (KEY, KEY, OTHER)] == [True, False, True]
    flights.end(KEY)
    assert [flights.begin(key) for key in (KEY, OTHER)] == [True, False]


def test_all_that_wait_are_woken_once() -> None:
    flights, wakes = Flights(10), [Wake(), Wake(), Wake()]
    flights.begin(KEY)
    flights.begin(OTHER)
    assert all(flights.join(KEY, wake) for wake in wakes)
    flights.leave(KEY, wakes[2])
    flights.end(OTHER)
    assert [wake.calls for wake in wakes] == [0, 0, 0]
    flights.end(KEY)
    flights.end(KEY)
    assert [wake.calls for wake in wakes] == [1, 1, 0]


def test_who_comes_too_late_is_woken_at_once() -> None:
    flights, wake = Flights(10), Wake()
    assert flights.join(KEY, wake)
    assert wake.calls == 1


def test_only_so_many_wait() -> None:
    flights, wakes = Flights(2), [Wake(), Wake(), Wake()]
    flights.begin(KEY)
    assert [flights.join(KEY, wake) for wake in wakes] == [True, True, False]
    flights.end(KEY)
    flights.leave(KEY, wakes[0])
    assert flights.join(OTHER, wakes[2])
    assert not flights.join(OTHER, wakes[0])


def test_none_waits_where_none_may() -> None:
    assert not Flights(0).join(KEY, Wake())


def test_threads_take_turns() -> None:
    flights, asking, most = Flights(100), [0], [0]
    lock = threading.Lock()

    def ask() -> None:
        for _ in range(50):
            woken = threading.Event()
            while not flights.begin(KEY):
                if flights.join(KEY, woken.set):
                    woken.wait()
                    flights.leave(KEY, woken.set)
                woken.clear()
            with lock:
                asking[0] += 1
                most[0] = max(most[0], asking[0])
            with lock:
                asking[0] -= 1
            flights.end(KEY)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
