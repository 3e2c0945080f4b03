"""Counters in memory that the workers of a host share: a file that is mapped into each of them.

The file consists of words of 8 bytes: a head, and ROWS rows, each for one counter. It is a cache of the counters in the
database: a row that has changed since it was written there is marked, and only others make room for new ones. It is
changed under a lock, the kernel's on the file, which ends with its holder.

A worker may be killed between two words. So what is to change is first written down in the head, as a whole, and then
done; the next one that has the lock does what was left. Words that were written are there also if their writer is
killed; only a machine that stops loses them. So a file of another run of the machine begins anew.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from argoproxy.protocol.limits.buckets import UNUSED, Counter
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.counter_lock import CounterLock
from argoproxy.stores.local.counter_names import MOST_NAME_BYTES, fit_row, key_of
from argoproxy.stores.sqlite_file import give_to_owner_of_folder
from argoproxy.telemetry.rotating_file import PRIVATE

ROWS = 16_384
#: Workers of a host at one time, among them those that end while a new generation starts.
MAX_SLOTS = 128
#: Counters that one request changes.
MOST_CHANGES = 512

_MAGIC = int.from_bytes(b"ARGOCNT1", "little")
_WORD = 8
_MAGIC_WORD, _RUN, _ROWS_USED, _REMOVED, _HAND, _TO_DO, _LOG_WORD, _LOG_VALUE = range(8)
_CHANGES, _LOGS = 16, 16 + 3 * MOST_CHANGES
_FIRST_ROW = 2048
_KEY, _USED, _AT_US, _ENDS_US, _IS_CHANGED, _NAME_BYTES, _NAME = range(7)
_ROW_WORDS = _NAME + MOST_NAME_BYTES // _WORD
_SIZE = (_FIRST_ROW + ROWS * _ROW_WORDS) * _WORD
_MOST_PLACES = 4 * ROWS
_OPENING_WAIT_S = 1.0
RUN_OF_MACHINE = Path("/proc/sys/kernel/random/boot_id")
_AT_ONCE = f"/{LimitKind.CONCURRENT}"

#: In place of a place that is not known: no word has this value.
_NOWHERE = (0, -1)


class Changed(NamedTuple):
    """A counter that differs from the database; `ends_at` (seconds since 1970) is the end of a budget's period."""

    place: int
    row: str
    counter: Counter
    ends_at: float | None


class CounterTable:
    """The counters of a host. They are read and changed under its lock; but each worker may change the end of its own
    log."""

    _descriptor = -1

    def __init__(self, path: Path) -> None:
        """Open the file, and create it if missing. Raises OSError."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        give_to_owner_of_folder(self._descriptor, path.parent)
        self._status = os.fstat(self._descriptor)
        self._allocate()
        self._memory = mmap.mmap(self._descriptor, _SIZE)
        self._words = memoryview(self._memory).cast("Q")
        self._places: dict[str, tuple[int, int]] = {}
        self._known: dict[int, int] = {}
        #: Where the log of each slot ends; 0 if it has none.
        self.log_ends = self._words[_LOGS : _LOGS + MAX_SLOTS]
        #: Who takes it reads counters by `read_claimed`, or else takes it by `exclusive`.
        self.lock = CounterLock(self._descriptor)
        self.lock.acquire(_OPENING_WAIT_S)
        try:
            self._begin()
        finally:
            self.lock.release()

    def __del__(self) -> None:
        """Close the file: another one may be used in its place, while threads still have this one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def is_current(self) -> bool:
        """Return whether the path still leads to this file. Raises OSError for a folder that is gone."""
        try:
            return os.path.samestat(os.stat(self._path), self._status)
        except FileNotFoundError:
            return not self._path.parent.stat()

    @contextmanager
    def exclusive(self, max_wait_s: float) -> Iterator[None]:
        """Keep others out for a while. Raises TimeoutError, an OSError."""
        self.lock.acquire(max_wait_s)
        try:
            if self._words[_TO_DO]:
                self._do_changes()
            yield
        finally:
            self.lock.release()

    def find(self, row: str) -> int | None:
        """Return the place of a counter, None if it is not here."""
        known = self._places.get(row)
        if known is not None and self._words[known[0]] == known[1]:
            return known[0]
        return self._look_for(row)

    def read(self, place: int) -> Counter:
        """Return the counter at a place."""
        return Counter(self._words[place + _USED], self._words[place + _AT_US])

    def read_claimed(self, claims: Sequence[Claim]) -> tuple[Sequence[int], Sequence[tuple[int, int]]] | None:
        """Return the places of the counters of claims, and the counters; None if one is not here."""
        words, known = self._words, self._places
        if words[_TO_DO]:
            self._do_changes()
        places, counters = [], []
        for claim in claims:
            place, key = known.get(claim.row, _NOWHERE)
            if words[place] != key:
                found = self._look_for(claim.row)
                if found is None:
                    return None
                place = found
            places.append(place)
            counters.append((words[place + _USED], words[place + _AT_US]))
        return places, counters

    @property
    def removed(self) -> int:
        """How many counters have made room for others: what the database says of one may be old if it was asked before
        that."""
        return self._words[_REMOVED]

    def add(self, row: str, counter: Counter, ends_at: float | None) -> None:
        """Add a counter as it is in the database. Raises OSError if there is no room: all others have changed."""
        words, place, name = self._words, self._make_room(), fit_row(row).encode()
        words[place] = 0
        words[place + _USED : place + _NAME_BYTES] = memoryview(
            struct.pack("4Q", *(UNUSED if row.endswith(_AT_ONCE) else counter), int((ends_at or 0) * 1e6), 0)
        ).cast("Q")
        words[place + _NAME_BYTES] = len(name)
        words[place + _NAME : place + _ROW_WORDS] = memoryview(name.ljust(MOST_NAME_BYTES, b"\0")).cast("Q")
        words[place] = key_of(row)

    def change(self, places: Sequence[int], counters: Sequence[tuple[int, int]], slot: int, end: int) -> None:
        """Change the counters at places, and the end of the log of a slot, all or nothing. Raises OSError for too
        many."""
        words = self._words
        if not places:
            words[_LOGS + slot] = end
            return
        if len(places) > MOST_CHANGES:
            raise OSError(errno.E2BIG, "a request has too many limits")
        flat: list[int] = []
        for place, (used, at_us) in zip(places, counters, strict=True):
            flat += (place, used, at_us)
        _packer(len(flat)).pack_into(self._memory, _CHANGES * _WORD, *flat)
        words[_LOG_WORD], words[_LOG_VALUE] = _LOGS + slot, end
        words[_TO_DO] = len(places) + 1
        for place, (used, at_us) in zip(places, counters, strict=True):
            words[place + _USED], words[place + _AT_US], words[place + _IS_CHANGED] = used, at_us, 1
        words[_LOGS + slot] = end
        words[_TO_DO] = 0

    def list_changed(self) -> Sequence[Changed]:
        """Return the counters that differ from the database."""
        used = self._words[_ROWS_USED] * _ROW_WORDS
        flags = self._words[_FIRST_ROW + _IS_CHANGED : _FIRST_ROW + used : _ROW_WORDS].tolist() if used else []
        return [self._describe(_FIRST_ROW + _ROW_WORDS * number) for number, flag in enumerate(flags) if flag]

    def mark_written(self, counters: Sequence[Changed]) -> None:
        """Note that the database has counters, unless they have changed since."""
        for place, row, counter, _ in counters:
            if self.read(place) == counter and self._name(place) == row:
                self._words[place + _IS_CHANGED] = 0

    def _begin(self) -> None:
        """Empty a file that is new, or of another run of the machine."""
        head = _MAGIC, _run_of_machine()
        if tuple(self._words[: len(head)]) != head:
            self._words[:_FIRST_ROW] = memoryview(bytes(_FIRST_ROW * _WORD)).cast("Q")
            self._words[_RUN], self._words[_MAGIC_WORD] = head[1], head[0]

    def _allocate(self) -> None:
        """Allocate the file's space: a write to a hole in it, on a full disk, would kill the process."""
        if self._status.st_size != _SIZE:
            os.ftruncate(self._descriptor, _SIZE)
            os.posix_fallocate(self._descriptor, 0, _SIZE)

    def _do_changes(self) -> None:
        """Do what a worker that was killed had written down."""
        words, count = self._words, self._words[_TO_DO] - 1
        for number in range(count):
            start = _CHANGES + 3 * number
            place, used, at_us = words[start : start + 3]
            words[place + _USED], words[place + _AT_US], words[place + _IS_CHANGED] = used, at_us, 1
        words[words[_LOG_WORD]] = words[_LOG_VALUE]
        words[_TO_DO] = 0

    def _look_for(self, row: str) -> int | None:
        """Learn where all counters are, if one that is asked for is elsewhere than it was."""
        key = key_of(row)
        place = self._known.get(key)
        if place is None or self._words[place] != key:
            used = self._words[_ROWS_USED] * _ROW_WORDS
            keys = self._words[_FIRST_ROW : _FIRST_ROW + used : _ROW_WORDS].tolist() if used else []
            self._known = {one: _FIRST_ROW + _ROW_WORDS * number for number, one in enumerate(keys) if one}
            place = self._known.get(key)
        if place is not None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[row] = place, key
        return place

    def _make_room(self) -> int:
        """Return the place for another counter. Requests at once are counted here alone: such a row stays while there
        are any."""
        words, used = self._words, self._words[_ROWS_USED]
        if used < ROWS:
            words[_ROWS_USED] = used + 1
            return _FIRST_ROW + _ROW_WORDS * used
        for step in range(ROWS):
            number = (words[_HAND] + step) % ROWS
            place = _FIRST_ROW + _ROW_WORDS * number
            if not words[place + _IS_CHANGED] and not (words[place + _USED] and self._name(place).endswith(_AT_ONCE)):
                words[_HAND], words[_REMOVED] = number + 1, words[_REMOVED] + 1
                return place
        raise OSError(errno.ENOSPC, "no counter can make room for another one")

    def _describe(self, place: int) -> Changed:
        ends_us = self._words[place + _ENDS_US]
        return Changed(place, self._name(place), self.read(place), ends_us / 1e6 if ends_us else None)

    def _name(self, place: int) -> str:
        size = self._words[place + _NAME_BYTES]
        return self._words[place + _NAME : place + _ROW_WORDS].tobytes()[:size].decode()


@lru_cache(maxsize=MOST_CHANGES)
def _packer(words: int) -> struct.Struct:
    return struct.Struct(f"{words}Q")


def _run_of_machine() -> int:
    """Return a number of the time since the machine was started; 0 where it does not tell."""
    try:
        return key_of(RUN_OF_MACHINE.read_text())
    except OSError:
        return 0
