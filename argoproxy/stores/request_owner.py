"""Which requests of a file are those of workers that are gone: each worker holds a slot until it ends."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from argoproxy.telemetry.slots import SLOT, Slots

#: How long a worker waits for others that take slots. The lock of the database is held meanwhile.
_MAX_WAIT_S = 0.1


class RequestOwner:
    """The slot of this worker. `is_new` says that requests with its number are those of a worker before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: os.stat_result | None = None
        self.slot = -1
        self.is_new = False

    def take(self) -> None:
        """Take a slot, unless this worker has one whose file is still there. Call it under the lock of the database.
        Raises OSError."""
        if self._is_held():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        slots = Slots(self._folder, _MAX_WAIT_S)
        with slots.exclusive():
            self.slot = slots.take()
        self._file = self._path().stat()
        self.is_new = True

    def find_gone(self, owners: Collection[int]) -> set[int]:
        """Return which of these slots no worker holds."""
        others = {owner for owner in owners if owner != self.slot}
        return others - Slots(self._folder).held_slots(max(others) + 1) if others else set()

    def _is_held(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._file, self._path().stat())
        except OSError:
            return False

    def _path(self) -> Path:
        return self._folder / f"{SLOT}{self.slot}"
