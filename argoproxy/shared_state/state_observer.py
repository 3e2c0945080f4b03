"""What the workers of a host know of upstreams, read by a process beside them.

Nothing is written and no lock is held, so nothing that becomes of this process can reach a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.resilience.waiting import hash_name
from argoproxy.shared_state.cells import ROW_WORDS, SHARED_WORDS, CellTable
from argoproxy.shared_state.circuits import Circuits
from argoproxy.shared_state.mapped_file import MAX_SLOTS, WORD_BYTES, MappedFile, ObservedFile
from argoproxy.shared_state.place_table import LAYOUT as PLACES_LAYOUT
from argoproxy.shared_state.place_table import SIZE, PlaceTable
from argoproxy.shared_state.rows import Rows, WorkerGroup
from argoproxy.shared_state.upstream_memory import OPEN_STREAMS, name_memory
from argoproxy.telemetry.slots import Slots

#: An upstream that no worker has asked yet.
UNUSED: Json = {"state": "closed", "openings": 0, "models": {}, "open_streams": 0, "waiting": 0}


class StateObserver:
    """Reads the folder that workers share."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is that of the workers."""
        self._group, self._clock = _ObservedGroup(folder), clock

    def describe(self, name: str, urls: Sequence[str]) -> Json:
        """Return the state of an upstream as JSON, as `/health` has it."""
        waiting = self._count_waiting(name)
        try:
            file = ObservedFile(self._path(name_memory(name, urls)), SHARED_WORDS, ROW_WORDS)
        except OSError:
            return {**UNUSED, "waiting": waiting}
        rows = _ObservedRows(file, self._group)
        circuits = Circuits(CellTable(file, rows, self._group), self._group.lock)
        return {**circuits.describe(self._clock()), "open_streams": rows.sum(OPEN_STREAMS), "waiting": waiting}

    def _count_waiting(self, name: str) -> int:
        """Return how many requests wait for a place at an upstream."""
        try:
            memory = ObservedFile(self._path(f"places-{PLACES_LAYOUT}"), SIZE // WORD_BYTES, 0).shared.numbers
        except OSError:
            return 0
        pool, held = hash_name(name), self._group.held_slots()
        rows = PlaceTable(memory.cast("B")).read_waiting()
        return sum(row.slot in held and any(one.id == pool for one in row.entry.pools) for row in rows)

    def _path(self, name: str) -> Path:
        path = self._group.path(name)
        assert path is not None, "there is a folder"
        return path


class _ObservedGroup(WorkerGroup):
    """The workers of a folder, of which this process is none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(None)
        self.folder, self._slots = folder, Slots(folder)

    def held_slots(self) -> frozenset[int]:
        return self._slots.held_slots(MAX_SLOTS)


class _ObservedRows(Rows):
    """The rows of workers; this process has none."""

    def __init__(self, file: MappedFile, group: WorkerGroup) -> None:
        self._file, self._group = file, group
