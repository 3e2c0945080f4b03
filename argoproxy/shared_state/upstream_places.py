"""Places at upstreams that serve only so many requests at once (`max_concurrent`), counted over all workers of a host.

What holds a place or waits for one is in a table that all workers map. It changes under a lock of this process and one
between processes, both held for microseconds. A process that frees a place gives it to the request whose turn it is, in
whatever worker that waits: so no request overtakes another, and waiting costs a look at a byte now and then. Rows of a
worker that has died are dropped by those who find no place, or wait for one, at most twice a second.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from argoproxy.protocol.resilience.waiting import Entry, PlaceLimits, Pool, find_excess, grant_places, next_round
from argoproxy.shared_state.mapped_file import MAX_SLOTS, WORD_BYTES, MappedFile
from argoproxy.shared_state.place_table import LAYOUT, MOST_OPTIONS, SIZE, PlaceTable, State
from argoproxy.shared_state.rows import WorkerGroup
from argoproxy.telemetry.rotating_file import lock_file
from argoproxy.telemetry.slots import Slots

#: How often a process looks for workers that have died.
CHECK_S = 0.4
#: How long a change waits for other processes.
LOCK_WAIT_S = 0.5


class Ticket:
    """A request at the routes that it may take: it waits, holds a place on one of them, or neither. Used by one
    thread."""

    #: The number of the option at which it holds a place.
    option: int | None = None
    #: Called in any thread when there may be news.
    wake: Callable[[], None] | None = None

    def __init__(self, number: int, places: UpstreamPlaces) -> None:
        self.number = number
        #: Its rows in the table, by option.
        self.rows: dict[int, int] = {}
        self._places = places

    def is_waiting(self) -> bool:
        """Return whether it waits still; if not, `option` is set if it has a place. Raises TimeoutError."""
        return self._places.is_waiting(self)

    def release(self) -> None:
        """Give back the place, or wait no more; further calls do nothing. Waits for no thread."""
        if self.rows:
            self._places.release(self)


class FileLock:
    """A lock over the processes of a host, which ends with its holder."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes out. Raises TimeoutError if one is stopped while it holds the lock."""
        lock_file(self._descriptor, time.monotonic() + LOCK_WAIT_S)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class UpstreamPlaces:
    """The places at all upstreams, for one worker. Threads share it."""

    def __init__(
        self,
        table: PlaceTable,
        slot: int,
        lock_processes: Callable[[], AbstractContextManager[None]],
        find_dead: Callable[[Collection[int]], Collection[int]],
    ) -> None:
        """`lock_processes` keeps other processes out; it raises TimeoutError if one holds the lock for too long.
        `find_dead` returns those of some slots that no worker holds."""
        self._table = table
        self._slot = slot
        self._lock_processes = lock_processes
        self._find_dead = find_dead
        #: How many requests of this worker may wait: a thread waits with each, and the others must be served.
        self.most_waiting = 0
        self._lock = threading.Lock()
        self._to_release = deque[Ticket]()
        self._waiting: dict[int, Ticket] = {}
        self._next_check = 0.0
        with self._exclusive():  # what the worker before this one has left in the slot
            self._table.remove([row.number for row in self._table.read() if row.slot == slot])
            self._grant()

    @property
    def waiting(self) -> int:
        """How many requests of this worker wait."""
        return len(self._waiting)

    def take_free(self, key: int, limits: PlaceLimits) -> Ticket | None:
        """Return a ticket with a place, None if none is free. Raises TimeoutError."""
        return self._take(key, [limits], [0])

    def take(self, key: int, options: Sequence[PlaceLimits]) -> Ticket | None:
        """Return a ticket with a place at the first option that has room, else one that waits in each line that has;
        None if none has. Raises TimeoutError."""
        return self._take(key, options, [option.queue_size for option in options])

    def _take(self, key: int, options: Sequence[PlaceLimits], sizes: Sequence[int]) -> Ticket | None:
        with self._exclusive():
            if len(self._waiting) >= self.most_waiting:
                sizes = [0] * len(options)
            free = self._find_free(options)
            if free is None and self._is_check_due():
                self._drop_dead()
                free = self._find_free(options)
            if free is None and not any(sizes):
                return None
            ticket = Ticket(self._table.make_ticket(), self)
            if free is None or self._table.has_waiting():
                return self._join(ticket, key, options, sizes)
            # In round 0: rounds tell those apart that wait.
            self._add(ticket, Entry(ticket.number, free, key, options[free].pools, is_running=True))
            return None if self._refresh(ticket) is State.FREE else ticket

    def _find_free(self, options: Sequence[PlaceLimits]) -> int | None:
        """Return the first option with room in all its pools."""
        rooms = (self._has_room(option.pools) for option in options[:MOST_OPTIONS])
        return next((number for number, has_room in enumerate(rooms) if has_room), None)

    def _has_room(self, pools: Iterable[Pool]) -> bool:
        return all(self._table.count_running(pool.id) < pool.limit for pool in pools)

    def _join(self, ticket: Ticket, key: int, options: Sequence[PlaceLimits], sizes: Sequence[int]) -> Ticket | None:
        """Have a newcomer take its turn, or wait in each line that has room; None if none has."""
        others = [row.entry for row in self._table.read()]
        entries = []
        for number, option in enumerate(options[:MOST_OPTIONS]):
            turn = next_round(key, option.pools[0], others)
            entries.append(Entry(ticket.number, number, key, option.pools, round=turn))
            self._add(ticket, entries[-1])
        self._grant()
        if self._refresh(ticket) is State.WAITING:
            for entry, size in zip(entries, sizes, strict=False):
                self._limit_line(entry, size)
        state = self._refresh(ticket)
        if state is State.WAITING:
            self._waiting[ticket.number] = ticket
        return None if state is State.FREE else ticket

    def is_waiting(self, ticket: Ticket) -> bool:
        """Return whether a ticket waits still; see there. Drops rows of workers that have died, now and then."""
        if self._is_check_due():
            with self._exclusive():
                self._drop_dead()
        if all(self._table.state(row, ticket.number) is State.WAITING for row in ticket.rows.values()):
            return True
        with self._exclusive():
            return self._refresh(ticket) is State.WAITING

    def release(self, ticket: Ticket) -> None:
        """Free what a ticket holds. May be called by the garbage collector, in a thread that is at work here: what
        finds the lock taken is done by its holder."""
        self._to_release.append(ticket)
        self._free_released()

    def count(self, pool: int) -> tuple[int, int]:
        """Return how many requests have a place in a pool, and how many wait for one there. Raises TimeoutError."""
        with self._exclusive():
            waiting = (row.entry for row in self._table.read_waiting())
            line = [entry for entry in waiting if pool in [one.id for one in entry.pools]]
            return self._table.count_running(pool), len(line)

    def count_waiting(self, pool: int) -> int:
        """Return how many requests wait for a place in a pool; 0 if that can't be read now."""
        try:
            return self.count(pool)[1]
        except TimeoutError:
            return 0

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            with self._lock, self._change():
                yield
        finally:
            self._free_released()

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock_processes():
            self._table.begin()
            yield
            self._table.end()  # not after an error: then the next change repairs what this one has left

    def _free_released(self) -> None:
        """Free what was released while the lock was taken; what can't be freed now is freed at the next call."""
        while self._to_release and self._lock.acquire(blocking=False):
            try:
                with self._change():
                    while self._to_release:
                        self._free(self._to_release[0])
                        self._to_release.popleft()
                    self._grant()
            except TimeoutError:
                return
            finally:
                self._lock.release()

    def _free(self, ticket: Ticket) -> None:
        rows = [row for row in ticket.rows.values() if self._table.state(row, ticket.number) is not State.FREE]
        self._table.remove(rows)
        ticket.rows = {}
        self._waiting.pop(ticket.number, None)

    def _add(self, ticket: Ticket, entry: Entry) -> None:
        row = self._table.add(self._slot, entry)
        if row is not None:  # there are rows for thousands
            ticket.rows[entry.option] = row

    def _grant(self) -> None:
        """Give free places to those whose turn it is."""
        lines = {row.entry.pools for row in self._table.read_waiting()}
        if not any(self._has_room(pools) for pools in lines):
            return
        rows = list(self._table.read())
        for granted in grant_places([row.entry for row in rows]):
            for row in rows:
                if row.entry.ticket == granted.ticket:
                    if row.entry == granted:
                        self._table.start(row)
                    else:
                        self._table.remove([row.number])
            self._wake(granted.ticket)

    def _limit_line(self, entry: Entry, size: int) -> None:
        """Have no more than `size` wait where an entry waits."""
        rows = list(self._table.read_waiting())
        others = (row.entry for row in rows if row.entry.ticket != entry.ticket)
        excess = find_excess(entry, others, size)
        if excess:
            self._table.remove([row.number for row in rows if row.entry == excess])
            self._wake(excess.ticket)

    def _wake(self, number: int) -> None:
        ticket = self._waiting.get(number)
        if ticket and ticket.wake:
            ticket.wake()

    def _refresh(self, ticket: Ticket) -> State:
        """Return the state of a ticket, and note it there."""
        states = {option: self._table.state(row, ticket.number) for option, row in ticket.rows.items()}
        ticket.rows = {option: row for option, row in ticket.rows.items() if states[option] is not State.FREE}
        ticket.option = next((option for option, state in states.items() if state is State.RUNNING), None)
        if ticket.option is None and ticket.rows:
            return State.WAITING
        self._waiting.pop(ticket.number, None)
        return State.FREE if ticket.option is None else State.RUNNING

    def _is_check_due(self) -> bool:
        now = time.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + CHECK_S
        return True

    def _drop_dead(self) -> None:
        """Free the rows of workers that have died."""
        rows = list(self._table.read())
        dead = self._find_dead({row.slot for row in rows} - {self._slot})
        if dead:
            self._table.remove([row.number for row in rows if row.slot in dead])
            self._grant()


def open_places(group: WorkerGroup) -> UpstreamPlaces:
    """Return the places that the workers of a group share. Raises OSError when there is no space for them."""
    path = group.path(f"places-{LAYOUT}")
    memory = MappedFile(path, SIZE // WORD_BYTES, 0, group.lock).shared.numbers
    table = PlaceTable(memory.cast("B"))
    folder = group.folder
    if path is None or folder is None:
        return UpstreamPlaces(table, group.slot, nullcontext, lambda _: ())
    lock = FileLock(path.with_suffix(".lock"))
    return UpstreamPlaces(
        table, group.slot, lock.exclusive, lambda slots: set(slots) - Slots(folder).held_slots(MAX_SLOTS)
    )
