"""Places, shared by processes of which some are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from mmap import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.resilience.waiting import Entry, Pool
from argoproxy.shared_state.place_table import MOST_ROWS, SIZE, PlaceTable
from argoproxy.shared_state.upstream_places import Ticket, UpstreamPlaces
from tests.shared_state.places import GPU, SPARE, A, B, make_places, take
from tests.support.processes import ROOT, UNCOVERED


def test_as_many_as_the_limit_get_a_place_as_many_as_the_line_takes_wait() -> None:
    places = make_places()
    first, second, third, fourth = [take(places) for _ in range(4)]
    assert [ticket.option for ticket in (first, second, third, fourth)] == [0, 0, None, None]
    assert places.take(A, [GPU]) is None
    assert (places.count(10), places.waiting) == ((2, 2), 2)
    assert third.is_waiting()
    assert fourth.is_waiting()
    first.release()
    assert not third.is_waiting()
    assert third.option == 0
    assert fourth.is_waiting()
    assert (places.count(10), places.waiting) == ((2, 1), 1)


def test_all_is_free_again_in_the_end() -> None:
    places = make_places()
    tickets = [take(places) for _ in range(4)]
    for ticket in tickets:
        ticket.release()
        ticket.release()
    assert (places.count(10), places.waiting) == ((0, 0), 0)


def test_one_that_leaves_the_line_makes_room_for_another() -> None:
    places = make_places()
    *_, third, fourth = [take(places) for _ in range(4)]
    third.release()
    fifth = take(places)
    assert places.count(10) == (2, 2)
    assert fourth.number < fifth.number


def test_the_next_route_is_taken_before_a_line() -> None:
    places = make_places()
    assert [take(places, GPU, SPARE).option for _ in range(4)] == [0, 0, 1, None]


def test_a_request_waits_for_the_route_that_is_free_first() -> None:
    places = make_places()
    _, _, on_spare, waiter = [take(places, GPU, SPARE) for _ in range(4)]
    assert (places.count(10)[1], places.count(20)[1]) == (1, 1)
    on_spare.release()
    assert not waiter.is_waiting()
    assert waiter.option == 1
    assert (places.count(10)[1], places.count(20)[1]) == (0, 0)


def test_where_one_line_is_full_a_request_waits_in_the_other() -> None:
    places = make_places()
    for _ in range(4):
        take(places)
    take(places, SPARE)
    waiter = take(places, GPU, SPARE)
    assert (places.count(10)[1], places.count(20)[1]) == (2, 1)
    assert waiter.is_waiting()


def test_a_displaced_request_waits_no_more() -> None:
    places = make_places()
    news: list[str] = []
    _, _, older, newer = [take(places) for _ in range(4)]
    newer.wake = lambda: news.append("newer")
    take(places, key=B)
    assert news == ["newer"]
    assert not newer.is_waiting()
    assert newer.option is None
    assert older.is_waiting()
    newer.release()
    assert places.count(10) == (2, 2)


def test_a_rule_may_have_fewer_places_than_its_upstream() -> None:
    places = make_places()
    rule = replace(GPU, pools=(*GPU.pools, Pool(30, 1)))
    assert [take(places, rule).option, take(places, rule).option, take(places).option] == [0, None, 0]


def test_a_raised_limit_counts_at_once() -> None:
    places = make_places()
    take(places), take(places)
    assert take(places, replace(GPU, pools=(Pool(10, 3),))).option == 0


def test_a_full_table_refuses() -> None:
    memory = mmap(-1, SIZE)
    table, places = PlaceTable(memoryview(memory)), make_places(memory)
    for ticket in range(MOST_ROWS):
        assert table.add(5, Entry(ticket, 0, A, (Pool(40, MOST_ROWS),), is_running=True)) == ticket
    assert places.take(A, [SPARE]) is None
    table.remove([7])
    assert take(places, SPARE).option == 0


def test_a_release_within_a_change_waits_for_its_end() -> None:
    """The garbage collector may run anywhere, and close a response there."""
    inside: list[Ticket] = []

    @contextmanager
    def lock() -> Iterator[None]:
        for ticket in inside:
            ticket.release()
        yield

    places = UpstreamPlaces(PlaceTable(memoryview(mmap(-1, SIZE))), 0, lock, lambda _: ())
    inside.append(take(places))
    take(places), take(places)
    assert places.count(10) == (2, 0)


def test_threads_never_get_more_places_than_there_are() -> None:
    places, most, lock = make_places(), [0, 0], threading.Lock()

    def work() -> None:
        for _ in range(50):
            ticket = places.take(A, [GPU])
            if ticket:
                while ticket.is_waiting():
                    time.sleep(0)
                with lock:
                    most[0] += 1
                    most[1] = max(most)
                with lock:
                    most[0] -= 1
                ticket.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 0
    assert most[1] <= 2
    assert (places.count(10), places.waiting) == ((0, 0), 0)


def test_a_worker_that_takes_a_slot_frees_what_was_left_in_it() -> None:
    memory = mmap(-1, SIZE)
    before, other = make_places(memory, slot=1), make_places(memory, slot=2)
    take(before)
    waiter = [take(other), take(other)][1]
    assert waiter.is_waiting()
    make_places(memory, slot=1)
    assert not waiter.is_waiting()


def test_a_newcomer_frees_what_a_dead_worker_held() -> None:
    memory = mmap(-1, SIZE)
    before = make_places(memory, slot=1)
    take(before), take(before)
    assert take(make_places(memory, 2, 1)).option == 0


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_line_leaves_true_counts() -> None:
    """In a small process, which is forked fast, and whose lines nothing else traces."""
    environ = {name: value for name, value in os.environ.items() if name not in UNCOVERED}
    command = [sys.executable, "-m", "tests.shared_state.killed_at_any_line"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


RULE = replace(GPU, pools=(*GPU.pools, Pool(30, 1)))
OPTIONS = ((GPU,), (RULE,), (SPARE,), (GPU, SPARE), (RULE, SPARE))
#: Take a place with these options, in this worker, for this key, waiting or not; or release one of the tickets.
TAKES = st.tuples(st.sampled_from(OPTIONS), st.integers(0, 1), st.sampled_from((A, B)), st.booleans())


@given(st.lists(TAKES | st.integers(0, 9), max_size=40))
def test_limits_hold_and_no_place_is_free_while_one_waits_for_it(steps: list[Any]) -> None:
    memory = mmap(-1, SIZE)
    table, workers = PlaceTable(memoryview(memory)), [make_places(memory, 0), make_places(memory, 1)]
    tickets: list[Ticket] = []
    for step in steps:
        if isinstance(step, int):
            if tickets:
                tickets.pop(step % len(tickets)).release()
        else:
            options, worker, key, waits = step
            places = workers[worker]
            ticket = places.take(key, options) if waits else places.take_free(key, options[0])
            tickets += [ticket] if ticket else []
        rows = [row.entry for row in table.read()]
        running = [pool for entry in rows if entry.is_running for pool in entry.pools]
        for pool in (*RULE.pools, *SPARE.pools):
            assert running.count(pool) == table.count_running(pool.id) <= pool.limit
        for entry in (row.entry for row in table.read_waiting()):
            assert any(running.count(pool) == pool.limit for pool in entry.pools)
        lines = Counter(entry.pools for entry in rows if not entry.is_running)
        assert all(count <= 2 for count in lines.values())
    for ticket in tickets:
        ticket.release()
    assert list(table.read()) == []
