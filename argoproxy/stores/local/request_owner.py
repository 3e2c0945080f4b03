"""Which requests are those of workers that are gone: each worker holds a slot until it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argoproxy.telemetry.slots import SLOT, Slots

#: How long a worker waits for others that take slots.
_MAX_WAIT_S = 0.1


class RequestOwner:
    """The slot of this worker. `is_new` says that what is left in it is that of a worker before, not settled yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: os.stat_result | None = None
        self.slot = -1
        self.is_new = False

    def take(self) -> None:
        """Take a slot, unless this worker has one whose file is still there. Raises OSError."""
        if self.is_held():
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        slots = Slots(self.folder, _MAX_WAIT_S)
        with slots.exclusive():
            self.slot = slots.take()
        self._file = self._path().stat()
        self.is_new = True

    @contextmanager
    def replace(self, slot: int) -> Iterator[bool]:
        """Hold the slot of another worker, if that is gone: yields whether it is."""
        descriptor = Slots(self.folder).hold(slot) if slot != self.slot else None
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def is_held(self) -> bool:
        """Return whether this worker has a slot whose file is still there."""
        try:
            return self._file is not None and os.path.samestat(self._file, self._path().stat())
        except OSError:
            return False

    def _path(self) -> Path:
        return self.folder / f"{SLOT}{self.slot}"
