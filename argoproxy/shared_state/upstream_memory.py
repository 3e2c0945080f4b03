"""The memory of upstreams in a process: which file is mapped for which upstream, and what is used if none can be
had."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from weakref import WeakValueDictionary

from argoproxy.shared_state.cells import ROW_WORDS, SHARED_WORDS, CellTable
from argoproxy.shared_state.circuits import Circuits
from argoproxy.shared_state.mapped_file import MappedFile
from argoproxy.shared_state.rows import Rows, WorkerGroup, call_after_fork
from argoproxy.shared_state.upstream_places import UpstreamPlaces, open_places

logger = logging.getLogger("argoproxy")

Clock = Callable[[], float]

#: Words of the head of a file; the table of cells has the first one.
TOKENS_SPENT, _PROBER, _PROBER_UNTIL = 1, 2, 3
#: A word of a row.
OPEN_STREAMS = 0


class UpstreamMemory:
    """What is known of one upstream; one object in a process, because each row has one writer."""

    def __init__(self, group: WorkerGroup, name: str, clock: Clock = time.monotonic) -> None:
        """`name` is that of the mapped file. Raises OSError when there is no space."""
        self.group, self.clock = group, clock
        file = MappedFile(group.path(name), SHARED_WORDS, ROW_WORDS, group.lock)
        self.rows = Rows(file, group)
        self.table = CellTable(file, self.rows, group)
        self.circuits = Circuits(self.table, group.lock)
        self.head = self.table.head
        self._take_over()

    def renew(self) -> None:
        """Use a row of its own in a process that was forked. Raises OSError."""
        self.rows.renew()
        self._take_over()

    def lease_active_probe(self, seconds: float) -> bool:
        """Return whether this worker is the one that probes actively, for so many seconds from now on."""
        now = self.clock()
        with self.group.lock.exclusive() as is_locked:
            owner, until = self.head.numbers[_PROBER], self.head.floats[_PROBER_UNTIL]
            is_taken = until > now and owner != self.group.slot and owner in self.group.held_slots()
            if not is_locked or is_taken:
                return False
            self.head.numbers[_PROBER], self.head.floats[_PROBER_UNTIL] = self.group.slot, now + seconds
        return True

    def _take_over(self) -> None:
        """Take back what the worker that had the slot before has left."""
        with self.group.lock.exclusive():
            self.table.release_leases(self.group.slot, self.clock())


class SharedMemory:
    """The memories of all upstreams in a process, over reloads."""

    def __init__(self, folder: Path | None, slot: int = 0, clock: Clock = time.monotonic) -> None:
        """`slot` is the one that this process holds in the folder. Without a folder, and where there is no space in it,
        a worker knows only what it has seen itself."""
        self._lock, self._clock = threading.Lock(), clock
        self._group = WorkerGroup(None)
        self._memories: WeakValueDictionary[str, UpstreamMemory] = WeakValueDictionary()
        self._is_warned = False
        try:
            self._group = WorkerGroup(folder, slot)
        except OSError as error:
            self._warn(error)
        call_after_fork(self._renew)

    def of(self, name: str, urls: Sequence[str]) -> UpstreamMemory:
        """Return the memory of an upstream; it is a new one if the URLs have changed."""
        key = name_memory(name, urls)
        with self._lock:
            memory = self._memories.get(key)
            if memory is None:
                memory = self._memories[key] = self._open(key)
        return memory

    @cached_property
    def places(self) -> UpstreamPlaces:
        """The places at all upstreams."""
        try:
            return open_places(self._group)
        except OSError as error:
            self._warn(error)
            return open_places(WorkerGroup(None))

    def _open(self, key: str) -> UpstreamMemory:
        try:
            return UpstreamMemory(self._group, key, self._clock)
        except OSError as error:
            self._warn(error)
            return UpstreamMemory(WorkerGroup(None), key, self._clock)

    def _warn(self, error: OSError) -> None:
        if not self._is_warned:
            self._is_warned = True
            text = "code=upstream_state_private: this worker does not share what it learns of upstreams: %s"
            logger.warning(text, error.strerror or error)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        try:
            self._group.renew()
            for memory in list(self._memories.values()):
                memory.renew()
        except OSError as error:
            for memory in list(self._memories.values()):
                memory.rows.isolate()
            self._warn(error)


def name_memory(name: str, urls: Sequence[str]) -> str:
    """Return the name of the mapped file of an upstream."""
    return sha256("\n".join((name, *urls)).encode()).hexdigest()[:24]
