"""Memory that the workers of a host share: a file of fixed size, mapped into each of them.

A file consists of words of 8 bytes, written and read whole, so that no reader sees half a value:

- a head of one page: MAGIC, the number of the layout, and for each slot of a worker whether its row is in use;
- words that all workers write, under the lock of `HostLock`;
- a row for each slot, in pages of its own, which only the worker with that slot writes (`rows`).

Space is allocated before it is written to: a write to a hole in a file on a full disk kills the process (SIGBUS). So
the head and the shared words are allocated by the first worker, a row by the first worker in its slot, and no row is
read that isn't marked as in use. Rows that were never used cost nothing. The number of the layout is part of the file's
name: versions with different layouts don't meet in one file. Where no file can be had, a worker has the same words for
itself.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argoproxy.telemetry.rotating_file import lock_file

MAGIC = int.from_bytes(b"ARGOPRXY", "little")
#: To be raised whenever the meaning of a word changes.
LAYOUT = 1
#: Rows of a file: workers of a host that share it, among them those that end while a new generation starts.
MAX_SLOTS = 128
WORD_BYTES = 8
PAGE_WORDS = 512
#: How long a change waits for the lock. Holders keep it for microseconds; one that is stopped must not stop the others.
LOCK_WAIT_S = 0.02

_MAGIC_WORD, _LAYOUT_WORD, _ROW_FLAGS = 0, 1, 64


class HostLock:
    """A lock over all threads and processes of a host, for changes of shared words; one for all files of a folder."""

    def __init__(self, path: Path | None) -> None:
        """`path` is the file that processes lock; without it only the threads of this one are kept out. Raises
        OSError."""
        self._path = path
        self._descriptor: int | None = None
        self.renew()

    def renew(self) -> None:
        """Open the lock anew, in a process that was forked: the kernel's lock is inherited, and shared with the parent,
        and the threads that hold the other one don't exist here."""
        self._threads = threading.Lock()
        if self._path:
            inherited = self._descriptor
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if inherited is not None:
                os.close(inherited)

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Keep others out; yields False if that failed within LOCK_WAIT_S, because a holder was stopped, or because the
        garbage collector called from within. A process that is killed lets go."""
        is_held = self._threads.acquire(timeout=LOCK_WAIT_S)
        try:
            is_locked = is_held and self._lock_processes()
            try:
                yield is_locked
            finally:
                if is_locked and self._descriptor is not None:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            if is_held:
                self._threads.release()

    def _lock_processes(self) -> bool:
        try:
            if self._descriptor is not None:
                lock_file(self._descriptor, time.monotonic() + LOCK_WAIT_S)
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Words:
    """The same words twice: as whole numbers from 0 to 2**64, and as floating point numbers. Words that were never
    written are 0."""

    numbers: memoryview[int]
    floats: memoryview[float]

    def part(self, start: int, count: int) -> Words:
        """Return `count` of the words, from `start` on; they stay shared."""
        return Words(self.numbers[start : start + count], self.floats[start : start + count])


class MappedFile:
    """A mapped file: shared words, and a row for each slot."""

    def __init__(self, path: Path | None, shared_words: int, row_words: int, lock: HostLock) -> None:
        """Open the file, and create it if missing; without a path the words are this process's own. Raises OSError,
        also when there is no space."""
        size = self._measure(shared_words, row_words)
        self._path = path
        with lock.exclusive():
            memory = self._map_file(path, size) if path else mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
        self._lay_out(memory, shared_words)

    def _measure(self, shared_words: int, row_words: int) -> int:
        """Return the bytes of the file."""
        self._row_words = _whole_pages(row_words)
        self._first_row = PAGE_WORDS + _whole_pages(shared_words)
        return (self._first_row + MAX_SLOTS * self._row_words) * WORD_BYTES

    def _lay_out(self, memory: mmap.mmap, shared_words: int) -> None:
        view = memoryview(memory)
        words = Words(view.cast("Q"), view.cast("d"))
        self._flags = words.numbers[_ROW_FLAGS : _ROW_FLAGS + MAX_SLOTS]
        self._words = words
        self.shared = words.part(PAGE_WORDS, shared_words)

    def row(self, slot: int) -> Words:
        """Return the row of a slot."""
        return self._words.part(self._first_row + slot * self._row_words, self._row_words)

    def is_row_used(self, slot: int) -> bool:
        """Return whether a worker has used the row; no other row may be read."""
        return bool(self._flags[slot])

    def allocate_row(self, slot: int) -> Words:
        """Allocate the row of a slot, set it to 0 and mark it as in use. Raises OSError when there is no space."""
        start, size = (self._first_row + slot * self._row_words) * WORD_BYTES, self._row_words * WORD_BYTES
        if self._path:
            with _open_file(self._path) as descriptor:
                os.posix_fallocate(descriptor, start, size)
        row = self.row(slot)
        row.numbers[:] = memoryview(bytes(size)).cast("Q")
        self._flags[slot] = 1
        return row

    def _map_file(self, path: Path, size: int) -> mmap.mmap:
        """Map the file, which keeps it open. Call it under the lock."""
        with _open_file(path) as descriptor:
            if os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, size)
            os.posix_fallocate(descriptor, 0, self._first_row * WORD_BYTES)
            memory = mmap.mmap(descriptor, size)
        head = memoryview(memory).cast("Q")
        if (head[_MAGIC_WORD], head[_LAYOUT_WORD]) not in {(0, 0), (MAGIC, LAYOUT)}:
            raise OSError(f"{path.name} has another layout")
        head[_MAGIC_WORD], head[_LAYOUT_WORD] = MAGIC, LAYOUT
        return memory


class ObservedFile(MappedFile):
    """The file of others, for reading alone: no lock is taken, and nothing is allocated."""

    def __init__(self, path: Path, shared_words: int, row_words: int) -> None:
        """Raises OSError if there is no file that can be read."""
        size = self._measure(shared_words, row_words)
        self._path = path
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise OSError(f"{path.name} has another size")
            memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        head = memoryview(memory).cast("Q")
        if (head[_MAGIC_WORD], head[_LAYOUT_WORD]) != (MAGIC, LAYOUT):
            raise OSError(f"{path.name} has another layout")
        self._lay_out(memory, shared_words)


@contextmanager
def _open_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _whole_pages(words: int) -> int:
    return -(-words // PAGE_WORDS) * PAGE_WORDS
