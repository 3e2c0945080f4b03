"""The table of places: which requests hold a place at an upstream or wait for one, in the rows of a shared memory.

Nothing is locked here. A row is used if its state says so, and the state is written last: a process that is killed in
between leaves a free row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from argoproxy.protocol.resilience.waiting import Entry, Pool

#: The next ticket, and how many rows are in use or lie before one that is.
_HEADER = Struct("=QI")
#: Ticket, key, round, the ids of two pools and their limits (0: there is no second one), the worker's slot, the option,
#: the state.
_ROW = Struct("=QQQQQIIIBB2x")
_TICKET = Struct("=Q")
_ROWS_AT = 64
_STATE_AT = 53
MOST_ROWS = 8192
#: Part of the file's name: workers of two versions must not read each other's.
LAYOUT = f"2-{_ROW.size}"
SIZE = _ROWS_AT + MOST_ROWS * _ROW.size
#: An option is a byte.
MOST_OPTIONS = 255


class State(IntEnum):
    """Of a row."""

    FREE = 0
    WAITING = 1
    RUNNING = 2


class PlaceRow(NamedTuple):
    """A used row: its number, the slot of the worker that owns it, what it holds."""

    number: int
    slot: int
    entry: Entry


class PlaceTable:
    """The rows."""

    def __init__(self, memory: memoryview[int]) -> None:
        """`memory` has SIZE bytes, zeros at first. A view keeps what it is of."""
        self._memory = memory

    def make_ticket(self) -> int:
        """Return a number higher than all before; never 0."""
        ticket, used = _HEADER.unpack_from(self._memory)
        _HEADER.pack_into(self._memory, 0, ticket + 1, used)
        return int(ticket) + 1

    def read(self) -> Iterator[PlaceRow]:
        """Yield the used rows."""
        end = _ROWS_AT + self._count_used() * _ROW.size
        for index, row in enumerate(_ROW.iter_unpack(self._memory[_ROWS_AT:end])):
            ticket, key, turn, first, second, limit, second_limit, slot, option, state = row
            if state:
                pools = (Pool(first, limit), Pool(second, second_limit)) if second_limit else (Pool(first, limit),)
                yield PlaceRow(index, slot, Entry(ticket, option, key, pools, state == State.RUNNING, turn))

    def add(self, slot: int, entry: Entry) -> int | None:
        """Write a row, and return its number; None if the table is full."""
        used = self._count_used()
        free = bytes(self._memory[_state_at(0) : _state_at(used) : _ROW.size]).find(State.FREE)
        index = used if free < 0 else free
        if index == MOST_ROWS:
            return None
        if index == used:
            self._set_used(used + 1)
        first, second = (*entry.pools, Pool(0, 0))[:2]
        ids_and_limits = (first.id, second.id, first.limit, second.limit)
        fields = (entry.ticket, entry.key, entry.round, *ids_and_limits, slot, entry.option, State.FREE)
        _ROW.pack_into(self._memory, _ROWS_AT + index * _ROW.size, *fields)
        self._memory[_state_at(index)] = State.RUNNING if entry.is_running else State.WAITING
        return index

    def start(self, index: int) -> None:
        """Turn a waiting row into a running one."""
        self._memory[_state_at(index)] = State.RUNNING

    def remove(self, indexes: Iterable[int]) -> None:
        """Free rows."""
        for index in indexes:
            self._memory[_state_at(index)] = State.FREE
        used = self._count_used()
        while used and not self._memory[_state_at(used - 1)]:
            used -= 1
        self._set_used(used)

    def has_waiting(self) -> bool:
        """Return whether any row waits."""
        return State.WAITING in bytes(self._memory[_state_at(0) : _state_at(self._count_used()) : _ROW.size])

    def state(self, index: int, ticket: int) -> State:
        """Return the state of a row of this ticket; FREE if it is another's now. That it waits still may be asked
        without a lock: any change is seen soon."""
        (found,) = _TICKET.unpack_from(self._memory, _ROWS_AT + index * _ROW.size)
        return State(self._memory[_state_at(index)]) if found == ticket else State.FREE

    def _count_used(self) -> int:
        used: int = _HEADER.unpack_from(self._memory)[1]
        return used

    def _set_used(self, used: int) -> None:
        ticket, _ = _HEADER.unpack_from(self._memory)
        _HEADER.pack_into(self._memory, 0, ticket, used)


def _state_at(index: int) -> int:
    return _ROWS_AT + index * _ROW.size + _STATE_AT
