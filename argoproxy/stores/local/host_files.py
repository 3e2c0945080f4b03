"""The files in which the workers of a host count: the table of counters, and the log of this worker."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from argoproxy.stores.local.counter_table import MAX_SLOTS, CounterTable
from argoproxy.stores.local.request_log import RequestLog
from argoproxy.stores.local.request_owner import RequestOwner
from argoproxy.stores.local.usage_database import DATABASE

COUNTERS, SLOTS = f"{DATABASE}.counters", "slots"
#: How often a worker looks whether the files are still there.
_CHECK_S = 0.1


class OpenFiles(NamedTuple):
    """The table, and this worker's log, whose ends are in it."""

    table: CounterTable
    log: RequestLog


class HostFiles:
    """The files in a folder. Nothing is opened before the first use."""

    def __init__(
        self, folder: Path, needed: Callable[[], Iterable[bytes]], recover: Callable[[OpenFiles], None]
    ) -> None:
        """`needed` are the records of this worker's requests; `recover` is called with the files of a slot that another
        worker had before."""
        self.owner = RequestOwner(folder / SLOTS)
        self._path, self._needed, self._recover = folder / COUNTERS, needed, recover
        self._opened: OpenFiles | None = None
        self._opening = threading.RLock()
        self._next_check = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the files are open."""
        return self._opened is not None

    def open(self) -> OpenFiles:
        """Return the files; open them if they are not open, or not there any more. Raises OSError, and what `recover`
        raises."""
        opened, now = self._opened, time.monotonic()
        if opened is not None and now < self._next_check:
            return opened
        with self._opening:
            opened = self._opened
            if opened is None or not (opened.table.is_current() and self.owner.is_held()):
                self._opened = None
                opened = self._opened = self._open()
            self._next_check = now + _CHECK_S
        return opened

    def close(self) -> None:
        """Close the files."""
        with self._opening:
            self._opened = None

    def _open(self) -> OpenFiles:
        table = CounterTable(self._path)
        self.owner.take()
        if self.owner.slot >= MAX_SLOTS:
            raise OSError(errno.EUSERS, f"there are more than {MAX_SLOTS} workers")
        log = RequestLog(self.owner.folder, self.owner.slot, table)
        opened = OpenFiles(table, log)
        if self.owner.is_new:
            self._recover(opened)
            self.owner.is_new = False
        log.allocate()
        table.log_ends[log.slot] = log.begin_turn(self._needed())
        return opened
