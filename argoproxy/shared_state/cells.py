"""Circuits in mapped memory: one for the address of an upstream, one for each of its models that failed lately.

The shared words of a file: HEAD_WORDS for the upstream itself; the keys of CELLS cells; the cells, of CELL_WORDS each.
A cell is in use while its key is not 0. The first cell is the address's, the last one is shared by all models that find
no other. A model gets a cell at its first failure and loses it once it has had none for KEEP_CELL_S; so while all is
well no cell is in use, and that is all that an attempt looks at. Cells are written under the lock. Readers take none:
each word is whole, and what is decided from words that don't belong together is one request that is asked, or is not.

Rows hold outcomes: for each cell WINDOW_S buckets of one second, each a word of its second, successes and failures.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from argoproxy.protocol.resilience.breaker import WINDOW_S, Circuit, Outcomes, release_probe
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.mapped_file import MappedFile
from argoproxy.shared_state.rows import Rows, WorkerGroup

CELLS = 48
HEAD_WORDS, CELL_WORDS = 32, 32
SHARED_WORDS = HEAD_WORDS + CELLS + CELLS * CELL_WORDS
#: The first words of a row are for others; buckets follow.
ROW_HEAD_WORDS = 8
ROW_WORDS = ROW_HEAD_WORDS + CELLS * WINDOW_S
ADDRESS_CELL, OVERFLOW_CELL = 0, CELLS - 1
KEEP_CELL_S = 60.0

_CELLS_IN_USE, _OPENINGS = 0, 4  # words of the head; upstream_memory.py has the others
_LEASE_OWNER, _FAILED_AT, _BEGUN_AT, _NAME_BYTES, _FIELDS = 0, 1, 2, 3, 4  # words of a cell
_NAMES = tuple(field.name for field in fields(Circuit))[:-1]
_NAME_WORD = _FIELDS + len(_NAMES) + 1
_MAX_NAME_BYTES = (CELL_WORDS - _NAME_WORD) * 8
_KINDS = tuple(FailureKind)
_MAX_COUNT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Cell:
    """Which cell is meant: a key, and the name of the model that it stands for, "" for the address."""

    key: int
    name: str = ""


ADDRESS = Cell(1)
_SHARED_KEY = 2


@lru_cache(maxsize=512)
def cell_of(model: str) -> Cell:
    """Return the cell of a model. Two models with the same 64 bits of hash would share one."""
    digest = blake2b(model.encode("utf-8", "replace"), digest_size=8).digest()
    return Cell(max(3, int.from_bytes(digest, "little")), model)


class CellTable:
    """The cells of one upstream."""

    def __init__(self, file: MappedFile, rows: Rows, group: WorkerGroup) -> None:
        self._rows, self._group = rows, group
        self.head = file.shared.part(0, HEAD_WORDS)
        self._keys = file.shared.part(HEAD_WORDS, CELLS).numbers
        first = HEAD_WORDS + CELLS
        self._cells = [file.shared.part(first + CELL_WORDS * index, CELL_WORDS) for index in range(CELLS)]
        self._numbers = self.head.numbers

    def is_empty(self) -> bool:
        """Return whether no cell is in use."""
        return not self._numbers[_CELLS_IN_USE]

    @property
    def openings(self) -> int:
        """How often a circuit has opened."""
        return self._numbers[_OPENINGS]

    def count_opening(self) -> None:
        """Count a circuit that opens. Call it under the lock."""
        self._numbers[_OPENINGS] += 1

    def find(self, cell: Cell) -> int | None:
        """Return the number of the cell that holds a circuit; None while it needs none."""
        if cell is ADDRESS:
            return ADDRESS_CELL if self._keys[ADDRESS_CELL] else None
        keys = self._keys.tolist()
        if cell.key in keys:
            return keys.index(cell.key)
        return OVERFLOW_CELL if keys[OVERFLOW_CELL] else None

    def allocate(self, cell: Cell, now: float) -> int:
        """Return the number of a cell's place, in use from now on. Call it under the lock."""
        index = self.find(cell)
        if index is None:
            index = ADDRESS_CELL if cell is ADDRESS else self._free_place(now)
            self._clear(index, now)
            self._keys[index] = _SHARED_KEY if index == OVERFLOW_CELL else cell.key
            self._write_name(index, "" if index == OVERFLOW_CELL else cell.name)
            self._count_cells()
        return index

    def read(self, index: int, now: float) -> Circuit:
        """Return a circuit, without the lease of a worker that has died."""
        values: list[Any] = self._cells[index].floats[_FIELDS:_NAME_WORD].tolist()
        values[0] = int(values[0])
        values[-1] = _KINDS[int(values[-1]) - 1] if values[-1] else None
        circuit = Circuit(*values)
        if circuit.lease_until > now and self.lease_owner(index) not in self._group.held_slots():
            return release_probe(circuit)
        return circuit

    def is_lease_own(self, index: int) -> bool:
        """Return whether this worker has, or had last, the lease of a circuit's probe."""
        return self.lease_owner(index) == self._group.slot

    def is_kept(self, index: int, now: float) -> bool:
        """Return whether a cell stays in use although nothing is wrong: its outcomes are still counted."""
        return now - self._cells[index].floats[_FAILED_AT] <= KEEP_CELL_S

    def lease_owner(self, index: int) -> int:
        """Return the slot of the worker that has, or had last, the lease of a circuit's probe."""
        return self._cells[index].numbers[_LEASE_OWNER]

    def write(self, index: int, circuit: Circuit, now: float) -> None:
        """Write a circuit. Call it under the lock."""
        cell = self._cells[index]
        if circuit.is_plain and now >= circuit.cooling_until and not self.is_kept(index, now):
            self._keys[index] = 0
            self._count_cells()
        values = [float(getattr(circuit, name)) for name in _NAMES]
        values.append(1.0 + _KINDS.index(circuit.reason) if circuit.reason else 0.0)
        cell.floats[_FIELDS:_NAME_WORD] = memoryview(array("d", values))

    def set_lease_owner(self, index: int) -> None:
        """Note that this worker has the lease of a circuit's probe. Call it under the lock."""
        self._cells[index].numbers[_LEASE_OWNER] = self._group.slot

    def count_outcome(self, index: int, outcome: Outcomes, now: float) -> None:
        """Add to this worker's outcomes of this second."""
        second = int(now)
        word = ROW_HEAD_WORDS + WINDOW_S * index + second % WINDOW_S
        with self._rows.lock:
            buckets = self._rows.own.numbers
            before = _read_bucket(buckets[word], second)
            successes = min(before.successes + outcome.successes, _MAX_COUNT)
            failures = min(before.failures + outcome.failures, _MAX_COUNT)
            buckets[word] = second << 32 | successes << 16 | failures

    def mark_failure(self, index: int, now: float) -> None:
        """Keep a cell in use for KEEP_CELL_S. Call it under the lock."""
        self._cells[index].floats[_FAILED_AT] = now

    def outcomes(self, index: int, since: float, now: float) -> Outcomes:
        """Return the outcomes of the last seconds, of all workers that run, but none from before `since`, or from
        before the cell was in use."""
        first = int(max(since, self._cells[index].floats[_BEGUN_AT], now - WINDOW_S + 1))
        start = ROW_HEAD_WORDS + WINDOW_S * index
        successes = failures = 0
        for row in self._rows.live():
            for bucket in row.numbers[start : start + WINDOW_S].tolist():
                if first <= bucket >> 32 <= now:
                    successes += bucket >> 16 & _MAX_COUNT
                    failures += bucket & _MAX_COUNT
        return Outcomes(successes, failures)

    def in_use(self) -> Iterator[tuple[int, str]]:
        """Yield the cells in use: their numbers and the names of their models; the shared one has the name `*`."""
        for index, key in enumerate(self._keys.tolist()):
            if key:
                yield index, self._read_name(index) if index != OVERFLOW_CELL else "*"

    def release_leases(self, slot: int, now: float) -> None:
        """Take back the leases of the worker that had a slot before. Call it under the lock."""
        for index, _ in self.in_use():
            if self.lease_owner(index) == slot:
                self.write(index, release_probe(self.read(index, now)), now)

    def _free_place(self, now: float) -> int:
        """Return the place for another model: a free one, else that of a model that may be asked and whose last
        failure is the oldest, else the shared one."""
        places = range(ADDRESS_CELL + 1, OVERFLOW_CELL)
        idle = [place for place in places if not self._keys[place] or self._is_idle(place, now)]
        return min(idle, key=self._rank, default=OVERFLOW_CELL)

    def _rank(self, place: int) -> float:
        return self._cells[place].floats[_FAILED_AT] if self._keys[place] else 0.0

    def _is_idle(self, place: int, now: float) -> bool:
        circuit = self.read(place, now)
        return not circuit.is_open and now >= circuit.cooling_until

    def _clear(self, index: int, now: float) -> None:
        cell = self._cells[index]
        cell.numbers[:] = memoryview(bytes(8 * CELL_WORDS)).cast("Q")
        cell.floats[_BEGUN_AT] = cell.floats[_FAILED_AT] = now

    def _count_cells(self) -> None:
        self._numbers[_CELLS_IN_USE] = sum(map(bool, self._keys.tolist()))

    def _write_name(self, index: int, name: str) -> None:
        data = name.encode("utf-8", "replace")[:_MAX_NAME_BYTES]
        cell = self._cells[index].numbers
        cell[_NAME_WORD:] = memoryview(data.ljust(_MAX_NAME_BYTES, b"\0")).cast("Q")
        cell[_NAME_BYTES] = len(data)

    def _read_name(self, index: int) -> str:
        cell = self._cells[index].numbers
        return cell[_NAME_WORD:].tobytes()[: cell[_NAME_BYTES]].decode("utf-8", "ignore")


def _read_bucket(bucket: int, second: int) -> Outcomes:
    """Return what a bucket holds of a second; nothing if it is of an earlier one."""
    return Outcomes(bucket >> 16 & _MAX_COUNT, bucket & _MAX_COUNT) if bucket >> 32 == second else Outcomes()
