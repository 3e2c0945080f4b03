"""Rows of mapped files: each worker writes its own and reads all.

A worker's row is that of its slot in the folder of the counts (`telemetry/slots.py`). The slot is locked by its worker,
and the kernel ends that lock with the worker. So the row of a worker that was killed stops counting: readers look at
the locks, at most twice a second. A worker that takes a slot sets its row to 0.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from argoproxy.shared_state.mapped_file import LAYOUT, MAX_SLOTS, HostLock, MappedFile, Words
from argoproxy.telemetry.slots import Slots

#: How long it is believed which slots are held.
KEEP_S = 0.45
_LOCK_FILE = "shared.lock"
_PREFIX = f"shared-{LAYOUT}-"


class WorkerGroup:
    """The workers that share a folder, and which of them this process is; without a folder this process alone."""

    def __init__(self, folder: Path | None, slot: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """`slot` is held by this process. Raises OSError."""
        self.folder, self.slot = folder, _check_slot(slot)
        self.lock = HostLock(folder / _LOCK_FILE if folder else None)
        self._clock = clock
        self._held = frozenset((slot,))
        self._checked_at = float("-inf")

    def held_slots(self) -> frozenset[int]:
        """Return the slots whose workers run, as of at most KEEP_S ago."""
        if self.folder is None:
            return self._held
        now = self._clock()
        if now - self._checked_at >= KEEP_S:
            self._checked_at = now
            self._held = Slots(self.folder).held_slots(MAX_SLOTS) | {self.slot}
        return self._held

    def path(self, name: str) -> Path | None:
        """Return the path of a mapped file, None without a folder."""
        return self.folder / f"{_PREFIX}{name}" if self.folder else None

    def renew(self) -> None:
        """Take a slot of its own in a process that was forked from a worker. Raises OSError."""
        self.lock.renew()
        if self.folder is not None:
            slots = Slots(self.folder)
            with slots.exclusive():
                self.slot = _check_slot(slots.take())
            self._checked_at = float("-inf")


def _check_slot(slot: int) -> int:
    if slot >= MAX_SLOTS:
        raise OSError(f"there are more than {MAX_SLOTS} workers")
    return slot


class Rows:
    """The rows of one mapped file. `own` is this worker's."""

    def __init__(self, file: MappedFile, group: WorkerGroup) -> None:
        """Raises OSError when there is no space for this worker's row."""
        self._file, self._group = file, group
        self._start_count(file.allocate_row(group.slot))

    def renew(self) -> None:
        """Use a row of its own in a process that was forked, after `WorkerGroup.renew`. Raises OSError."""
        self._start_count(self._file.allocate_row(self._group.slot))

    def isolate(self) -> None:
        """Count where no other process looks, in one that was forked and found no row: the parent's has one writer."""
        words = memoryview(bytearray(8 * len(self.own.numbers)))
        self._start_count(Words(words.cast("Q"), words.cast("d")))

    def add(self, word: int, change: int) -> None:
        """Add to a word of this worker's row. The garbage collector may run anywhere, and end an attempt there: so a
        call that finds the lock taken leaves its change to the holder, which may be an outer call."""
        adding = self._adding
        if adding.acquire(blocking=False):
            try:
                # What was opened before a fork is closed in both processes, and counted in one.
                numbers = self.own.numbers
                numbers[word] = max(0, numbers[word] + change)
            finally:
                adding.release()
        else:
            self._pending.append((word, change))
        while self._pending and adding.acquire(blocking=False):
            try:
                while self._pending:
                    word, change = self._pending.popleft()
                    self.own.numbers[word] = max(0, self.own.numbers[word] + change)
            finally:
                adding.release()

    def live(self) -> Iterator[Words]:
        """Yield the rows of all workers that run."""
        for slot in self._group.held_slots():
            if self._file.is_row_used(slot):
                yield self._file.row(slot)

    def sum(self, word: int) -> int:
        """Return the sum of one word over the rows of all workers that run."""
        return sum(int(row.numbers[word]) for row in self.live())

    def _start_count(self, own: Words) -> None:
        self.own = own
        #: Held while the buckets of outcomes are written.
        self.lock = threading.Lock()
        self._adding = threading.Lock()
        self._pending: deque[tuple[int, int]] = deque()


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a method in each process that is forked from this one, for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if alive := reference():
            alive()

    os.register_at_fork(after_in_child=call)
