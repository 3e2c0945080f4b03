"""Who gets a free place, and who may wait for one."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.resilience.waiting import Entry, Pool, find_excess, grant_places, next_round

A, B, C = 1, 2, 3
GPU = Pool(10, 2)
SPARE = Pool(20, 1)


def running(ticket: int, key: int = A, *pools: Pool) -> Entry:
    return Entry(ticket, 0, key, pools or (GPU,), is_running=True)


def waiting(ticket: int, key: int = A, *pools: Pool, option: int = 0) -> Entry:
    return Entry(ticket, option, key, pools or (GPU,))


def test_free_places_go_to_the_oldest_tickets() -> None:
    entries = [waiting(3), waiting(1), waiting(2)]
    assert [entry.ticket for entry in grant_places(entries)] == [1, 2]


def test_a_full_pool_has_no_place() -> None:
    assert grant_places([running(1), running(2), waiting(3)]) == []


def test_a_lowered_limit_lets_those_run_that_do() -> None:
    assert grant_places([running(1), running(2), running(3), waiting(4)]) == []


def test_the_key_with_the_fewest_places_comes_first() -> None:
    assert [entry.ticket for entry in grant_places([running(1, A), waiting(2, A), waiting(3, B)])] == [3]


def test_what_is_granted_counts_at_once() -> None:
    pool = Pool(10, 3)
    entries = [waiting(ticket, A, pool) for ticket in (1, 2, 3)] + [waiting(4, B, pool)]
    assert [entry.ticket for entry in grant_places(entries)] == [1, 4, 2]


def test_a_request_takes_its_first_option_with_room() -> None:
    assert grant_places([running(1), waiting(2), waiting(2, A, SPARE, option=1)]) == [waiting(2)]
    full = [running(1), running(9), waiting(2), waiting(2, A, SPARE, option=1)]
    assert grant_places(full) == [waiting(2, A, SPARE, option=1)]


def test_a_request_that_could_start_elsewhere_takes_one_place_only() -> None:
    both = [waiting(1), waiting(1, A, SPARE, option=1), waiting(2), waiting(2, A, SPARE, option=1)]
    assert [(entry.ticket, entry.option) for entry in grant_places([running(9), *both])] == [(1, 0), (2, 1)]


def test_a_place_in_each_pool_is_needed() -> None:
    rule = Pool(30, 1)
    entries = [running(1, A, GPU, rule), waiting(2, A, GPU, rule), waiting(3, A)]
    assert [entry.ticket for entry in grant_places(entries)] == [3]


def test_a_line_with_room_has_no_excess() -> None:
    assert find_excess(waiting(5), [running(1), waiting(2)], size=2) is None


def test_without_a_line_the_newcomer_goes() -> None:
    assert find_excess(waiting(5), [], size=0) == waiting(5)


def test_a_full_line_of_one_key_keeps_the_older_ones() -> None:
    assert find_excess(waiting(5), [waiting(3), waiting(4)], size=2) == waiting(5)


def test_a_newcomer_displaces_the_newest_of_the_key_that_fills_the_line() -> None:
    line = [waiting(2, A), waiting(3, B), waiting(4, A), waiting(6, A)]
    assert find_excess(waiting(5, C), line, size=4) == waiting(6, A)
    assert find_excess(waiting(7, A), line, size=4) == waiting(7, A)


def test_lines_of_other_pools_do_not_count() -> None:
    assert find_excess(waiting(5), [waiting(2, A, SPARE), waiting(3, A, GPU, SPARE)], size=1) is None


entries_strategy = st.lists(
    st.builds(
        Entry,
        ticket=st.integers(1, 12),
        option=st.integers(0, 2),
        key=st.integers(1, 3),
        pools=st.lists(
            st.builds(Pool, st.integers(1, 3), st.just(3)), min_size=1, max_size=2, unique_by=lambda p: p.id
        ).map(tuple),
        is_running=st.booleans(),
    ),
    max_size=24,
    unique_by=lambda entry: (entry.ticket, entry.option),
).map(lambda entries: [entry for entry in entries if not (entry.is_running and entry.option)])


@given(entries_strategy)
def test_no_pool_gets_over_its_limit_and_none_stays_free_that_is_wanted(entries: list[Entry]) -> None:
    started = {entry.ticket for entry in entries if entry.is_running}
    entries = [entry for entry in entries if entry.is_running or entry.ticket not in started]
    used = Counter(pool for entry in entries if entry.is_running for pool in entry.pools)
    granted = grant_places(entries)
    after = used + Counter(pool for entry in granted for pool in entry.pools)
    assert all(count <= max(pool.limit, used[pool]) for pool, count in after.items())
    tickets = [entry.ticket for entry in granted]
    assert len(tickets) == len(set(tickets))
    left = [entry for entry in entries if not entry.is_running and entry.ticket not in tickets]
    assert all(any(after[pool] >= pool.limit for pool in entry.pools) for entry in left)


@given(st.lists(st.integers(1, 4), max_size=40), st.integers(1, 8))
def test_a_line_is_never_longer_than_its_size_and_is_shared_evenly(keys: list[int], size: int) -> None:
    line: list[Entry] = []
    for ticket, key in enumerate(keys, 1):
        newcomer = waiting(ticket, key)
        excess = find_excess(newcomer, line, size)
        line = [entry for entry in [*line, newcomer] if entry != excess]
    assert len(line) == min(len(keys), size)
    came, kept = Counter(keys), Counter(entry.key for entry in line)
    for key, count in kept.items():
        others = [other for other in came if other != key and kept[other] < min(came[other], count - 1)]
        assert not others, "a key with less than its share was refused while another had more"


@given(st.lists(st.integers(1, 4), max_size=40))
def test_turns_of_one_place_at_a_time_are_fair(keys: list[int]) -> None:
    """No key has two places more than another one that waits."""
    pool = Pool(10, 6)
    queue = [waiting(ticket, key, pool) for ticket, key in enumerate(keys, 1)]
    granted = grant_places(queue)
    uses = Counter(entry.key for entry in granted)
    waits = {entry.key for entry in queue} & {entry.key for entry in queue if entry not in granted}
    assert all(uses[key] + 1 >= max(uses.values()) for key in waits)
    for _, group in groupby(sorted(granted, key=lambda entry: entry.key), key=lambda entry: entry.key):
        tickets = [entry.ticket for entry in group]
        assert tickets == sorted(tickets)


def test_keys_take_turns_where_there_is_one_place() -> None:
    pool, entries = Pool(10, 1), [running(1, A, Pool(10, 1))]
    for ticket, key in enumerate([A, A, A, A, B, B], 2):
        entries.append(Entry(ticket, 0, key, (pool,), round=next_round(key, pool, entries)))
    served = []
    while len(entries) > 1:
        entries = [entry for entry in entries if not entry.is_running]
        (granted,) = grant_places(entries)
        served.append(granted.key)
        entries = [entry._replace(is_running=True) if entry == granted else entry for entry in entries]
    assert served == [B, A, B, A, A, A]


def test_a_key_that_was_away_gets_no_credit_for_it() -> None:
    entries = [running(ticket)._replace(round=7) for ticket in (1, 2)]
    assert next_round(B, GPU, entries) == 7
    assert next_round(A, GPU, entries) == 8
    assert next_round(A, SPARE, entries) == 0
