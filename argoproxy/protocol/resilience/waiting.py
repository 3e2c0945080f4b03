"""Who gets a place at an upstream that serves only so many requests at once, and who may wait for one.

A pool is what a limit counts: all requests to one upstream, or those of one rule there. A request needs a place in each
pool of an option (a route); while all options are full it may wait for several of them, and takes the first that has
room. Those that wait for the same pools form a line of bounded length.

Fair by key: of those that wait, the key with the fewest places in use comes first, then the lowest round, then the
oldest ticket. Rounds are numbered as start-time fair queueing does (Goyal and others, 1996): a key's requests are in
one round each, and its first one is in the round of those that run; requests that found a free place are all in round
0. In a full line a newcomer displaces the newest request of the key that fills most of it, so that one key can't lock
out others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple


class Pool(NamedTuple):
    """What a limit counts: a number that stands for its name, and how many places it has."""

    id: int
    limit: int


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """The limits on requests along a route: the pools that they need a place in, how many may wait for one, and for how
    long."""

    pools: tuple[Pool, ...]
    queue_size: int
    wait_s: float


def hash_name(*names: str) -> int:
    """Return 64 bits that stand for a name; 0 for none."""
    text = "\0".join(names)
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) if text else 0


class Entry(NamedTuple):
    """An option of a request: it holds a place in each pool, or waits for them.

    `ticket` is the same in all options of a request, and higher in a later request; `key` stands for the caller's name.
    A request's options are in the order of `option`.
    """

    ticket: int
    option: int
    key: int
    pools: tuple[Pool, ...]
    is_running: bool = False
    round: int = 0


def grant_places(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Return the waiting entries that get a place now, in the order of their turns. Of a request only one does: its
    other options wait no more."""
    running = [entry for entry in entries if entry.is_running]
    waiting = sorted(entry for entry in entries if not entry.is_running)
    used = Counter(pool.id for entry in running for pool in entry.pools)
    uses = Counter((entry.pools[0].id, entry.key) for entry in running)
    granted = []
    while entry := _next_in_turn(waiting, used, uses):
        granted.append(entry)
        used.update(pool.id for pool in entry.pools)
        uses[entry.pools[0].id, entry.key] += 1
        waiting = [other for other in waiting if other.ticket != entry.ticket]
    return granted


def next_round(key: int, pool: Pool, entries: Iterable[Entry]) -> int:
    """Return the round of a newcomer that needs a place in a pool."""
    others = [entry for entry in entries if entry.pools[0].id == pool.id]
    current = max((entry.round for entry in others if entry.is_running), default=0)
    return max(current, max((entry.round + 1 for entry in others if entry.key == key), default=0))


def find_excess(newcomer: Entry, entries: Iterable[Entry], size: int) -> Entry | None:
    """Return the entry that has no room in the newcomer's line, where at most `size` may wait; None if all have."""
    ids = _ids(newcomer)
    line = [newcomer, *(entry for entry in entries if not entry.is_running and _ids(entry) == ids)]
    if len(line) <= size:
        return None
    counts = Counter(entry.key for entry in line)
    most = max(counts.values())
    if size == 0 or counts[newcomer.key] == most:
        return newcomer
    return max(entry for entry in line if counts[entry.key] == most)


def _next_in_turn(waiting: Iterable[Entry], used: Counter[int], uses: Counter[tuple[int, int]]) -> Entry | None:
    """Return the waiting entry that is next to get a place; None if no place is free. `waiting` is sorted."""
    first_options: dict[int, Entry] = {}
    for entry in waiting:
        if entry.ticket not in first_options and all(used[pool.id] < pool.limit for pool in entry.pools):
            first_options[entry.ticket] = entry

    def rank(entry: Entry) -> tuple[int, int, int]:
        return uses[entry.pools[0].id, entry.key], entry.round, entry.ticket

    return min(first_options.values(), key=rank, default=None)


def _ids(entry: Entry) -> tuple[int, ...]:
    return tuple(pool.id for pool in entry.pools)
