"""The table of places: which requests hold a place at an upstream or wait for one, in a memory that workers share.

Nothing is locked here. What a request holds is in a row, which is used if its state says so. The pools of rows that
run stand in columns of their own as well: counting those of a pool is a search in a few kilobytes. A process that is
killed within a change leaves the mark of it behind, and the next change begins by filling these columns from the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from sys import byteorder
from typing import NamedTuple

from argoproxy.protocol.resilience.waiting import Entry, Pool

#: Ticket, key, round, the ids of two pools and their limits (0: there is no second one), the worker's slot, the option.
_ROW = Struct("=QQQQQIIIB3x")
_TICKET = Struct("=Q")
_ID_BYTES = 8
MOST_ROWS = 8192
#: Words of the header: the last ticket, how many rows are in use or lie before one that is, whether a change goes on.
_LAST_TICKET, _USED, _CHANGING = 0, 1, 2
_STATES_AT = 64
_COLUMNS_AT = _STATES_AT + MOST_ROWS
_COLUMN_BYTES = MOST_ROWS * _ID_BYTES
_ROWS_AT = _COLUMNS_AT + 2 * _COLUMN_BYTES
#: Part of the file's name: workers of two versions must not read each other's.
LAYOUT = f"3-{_ROW.size}"
SIZE = _ROWS_AT + MOST_ROWS * _ROW.size
#: An option is a byte.
MOST_OPTIONS = 255
_NO_POOL = Pool(0, 0)


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
    """The rows. Changes are made between `begin` and `end`, by one process and thread at a time."""

    def __init__(self, memory: memoryview[int]) -> None:
        """`memory` has SIZE bytes, zeros at first. A view keeps what it is of."""
        self._header = memory[:_STATES_AT].cast("Q")
        self._states = memory[_STATES_AT:_COLUMNS_AT]
        starts = (_COLUMNS_AT, _COLUMNS_AT + _COLUMN_BYTES)
        self._columns = [memory[start : start + _COLUMN_BYTES] for start in starts]
        #: The pools of each row that runs, 0 in others.
        self._running = [column.cast("Q") for column in self._columns]
        self._rows = memory[_ROWS_AT:SIZE]

    def begin(self) -> None:
        """Begin changes, with the columns as they should be."""
        if self._header[_CHANGING]:
            self._repair()
        self._header[_CHANGING] = 1

    def end(self) -> None:
        """End changes."""
        self._header[_CHANGING] = 0

    def make_ticket(self) -> int:
        """Return a number higher than all before; never 0."""
        ticket: int = self._header[_LAST_TICKET] + 1
        self._header[_LAST_TICKET] = ticket
        return ticket

    def read(self) -> Iterator[PlaceRow]:
        """Yield the used rows."""
        used = self._header[_USED]
        rows = _ROW.iter_unpack(self._rows[: used * _ROW.size])
        for index, (state, row) in enumerate(zip(bytes(self._states[:used]), rows, strict=True)):
            if state:
                yield _make_row(index, state, row)

    def read_waiting(self) -> Iterator[PlaceRow]:
        """Yield the rows that wait."""
        states, index = self._used_states(), -1
        while (index := states.find(State.WAITING, index + 1)) >= 0:
            yield _make_row(index, State.WAITING, _ROW.unpack_from(self._rows, index * _ROW.size))

    def count_running(self, pool: int) -> int:
        """Return how many rows of a pool run. Its id is 64 bits of a hash: so they are found nowhere else, not across
        two words either."""
        end, text = self._header[_USED] * _ID_BYTES, pool.to_bytes(_ID_BYTES, byteorder)
        return sum(bytes(column[:end]).count(text) for column in self._columns)

    def has_waiting(self) -> bool:
        """Return whether any row waits."""
        return State.WAITING in self._used_states()

    def add(self, slot: int, entry: Entry) -> int | None:
        """Write a row, and return its number; None if the table is full."""
        used = self._header[_USED]
        free = self._used_states().find(State.FREE)
        index = used if free < 0 else free
        if index == MOST_ROWS:
            return None
        if index == used:
            self._header[_USED] = used + 1
        first, second = (*entry.pools, _NO_POOL)[:2]
        ids_and_limits = (first.id, second.id, first.limit, second.limit)
        fields = (entry.ticket, entry.key, entry.round, *ids_and_limits, slot, entry.option)
        _ROW.pack_into(self._rows, index * _ROW.size, *fields)
        if entry.is_running:
            self._set_running(index, first.id, second.id)
        # Last: a process that is killed before leaves a free row.
        self._states[index] = State.RUNNING if entry.is_running else State.WAITING
        return index

    def start(self, row: PlaceRow) -> None:
        """Turn a waiting row into a running one."""
        first, second = (*row.entry.pools, _NO_POOL)[:2]
        self._set_running(row.number, first.id, second.id)
        self._states[row.number] = State.RUNNING

    def remove(self, indexes: Iterable[int]) -> None:
        """Free rows."""
        for index in indexes:
            self._states[index] = State.FREE
            self._set_running(index, 0, 0)
        self._header[_USED] = len(self._used_states().rstrip(b"\0"))

    def state(self, index: int, ticket: int) -> State:
        """Return the state of a row of this ticket; FREE if it is another's now. That it waits still may be asked
        without a lock: any change is seen soon."""
        (found,) = _TICKET.unpack_from(self._rows, index * _ROW.size)
        return State(self._states[index]) if found == ticket else State.FREE

    def _used_states(self) -> bytes:
        return bytes(self._states[: self._header[_USED]])

    def _set_running(self, index: int, first: int, second: int) -> None:
        for column, pool in zip(self._running, (first, second), strict=True):
            column[index] = pool

    def _repair(self) -> None:
        """Fill the columns from the rows."""
        for column in self._columns:
            column[:] = bytes(_COLUMN_BYTES)
        for row in self.read():
            if row.entry.is_running:
                self.start(row)


def _make_row(index: int, state: int, fields: tuple[int, ...]) -> PlaceRow:
    ticket, key, turn, first, second, limit, second_limit, slot, option = fields
    pools = _make_pools(first, limit, second, second_limit)
    return PlaceRow(index, slot, Entry(ticket, option, key, pools, state == State.RUNNING, turn))


@lru_cache(maxsize=1024)
def _make_pools(first: int, limit: int, second: int, second_limit: int) -> tuple[Pool, ...]:
    return (Pool(first, limit), Pool(second, second_limit)) if second_limit else (Pool(first, limit),)
