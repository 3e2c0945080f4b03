"""The keys of all replicas, as the workers of one host find them: the same two files as those of a host of its own, in
another folder, and a third one whose time tells when the database was asked last."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.keys.key_index import make_document, make_withdrawn_document
from argoproxy.protocol.keys.key_record import KeyBook
from argoproxy.stores.keys import key_files
from argoproxy.stores.postgres.host_task import LastSuccess
from argoproxy.stores.sqlite_file import MAX_WAIT_S, errors_as_unavailable, make_folder, open_private
from argoproxy.telemetry.rotating_file import lock_file

LOCK, CHECKED = "keys.lock", "keys.checked"


class SharedKeys(NamedTuple):
    """The keys, the number of the last change, what changes with each of them, and the pepper."""

    generation: int
    stamp: str
    pepper: bytes
    book: KeyBook


class KeyPublisher:
    """Writes the files in a folder. Nothing is open between two calls."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        #: When the database said last that these are the keys.
        self.checked = LastSuccess(folder / CHECKED)

    def publish(self, read: Callable[[], SharedKeys]) -> str:
        """Give the keys that `read` returns to the workers, and return their stamp. They are read under the lock of the
        folder: what is written last was read last. Raises StateUnavailable."""
        with errors_as_unavailable():
            make_folder(self.folder)
            with open_private(self.folder / LOCK) as lock:
                lock_file(lock, time.monotonic() + MAX_WAIT_S)
                keys = read()
                key_files.keep_pepper(self.folder, keys.pepper)
                document = make_document(keys.book, keys.generation, self._clock())
                key_files.publish(self.folder, key_files.write_beside(self.folder, document))
        self.checked.note()
        return keys.stamp

    def try_publish(self, read: Callable[[], SharedKeys]) -> None:
        """The same, unless that is not possible now."""
        with suppress(StateUnavailable):
            self.publish(read)

    def withdraw(self) -> None:
        """Take the keys away from the workers: they are too old. Raises StateUnavailable."""
        with errors_as_unavailable():
            key_files.publish(self.folder, key_files.write_beside(self.folder, make_withdrawn_document()))
