"""The folder in which workers keep their counts. The master creates and removes it; it is divided into slots.

A slot is a number that one worker holds by a file lock, which the kernel releases when the worker ends, however it
ends. The worker that takes the slot next continues its counts. So there are never more slots than there were workers at
one time, while files by process id, prometheus_client's own way, become more with every restart and slow down scrapes.

Nothing imported here may load ssl: the master imports this module, and in workers gevent must patch ssl first.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from argoproxy.telemetry.rotating_file import MAX_WAIT_S, lock_file

#: The environment variable by which the master passes the folder to its workers.
FOLDER_VARIABLE = "ARGOPROXY_METRICS_FOLDER"
PREFIX = "argoproxy-"
#: With less free space nothing is counted: a write to a memory-mapped file on a full disk kills the process (SIGBUS).
MIN_FREE_BYTES = 32 * 1024 * 1024

_SINCE = "since"
_MASTER = "master"
_UNNAMED = "master.new"
#: Locked by a process that takes slots or looks at all of them.
_SLOTS_LOCK = "door"
#: The names of slots begin with it.
SLOT = "slot-"


def candidate_parents() -> Iterator[Path]:
    """Yield the folders in which the folder may be created, best first."""
    yield Path("/dev/shm")
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def make_folder(parents: Iterable[Path], min_free_bytes: int = MIN_FREE_BYTES) -> Path | None:
    """Create the folder in the first parent that is writable and has space; None if there is no such parent. It is
    removed when this process exits."""
    for parent in parents:
        with suppress(OSError):
            _remove_abandoned(parent)
            if _free_bytes(parent) >= min_free_bytes:
                return _create(parent)
    return None


def uptime_s(folder: Path) -> float:
    """Return the seconds since the folder was created, by a clock that all processes share and that is never set."""
    return time.monotonic() - float((folder / _SINCE).read_text())


class Slots:
    """The slots of a folder."""

    def __init__(self, folder: Path, max_wait_s: float = MAX_WAIT_S) -> None:
        self._folder = folder
        self._max_wait_s = max_wait_s

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from taking slots or looking at them. Raises TimeoutError, an OSError, if another one
        does so for too long."""
        with (self._folder / _SLOTS_LOCK).open("w") as file:
            lock_file(file.fileno(), time.monotonic() + self._max_wait_s)
            yield

    def take(self) -> int:
        """Take the first free slot until this process ends. Call it inside `exclusive`."""
        return next(number for number in itertools.count() if _try_lock(self._folder / f"{SLOT}{number}") is not None)

    def hold(self, slot: int) -> int | None:
        """Hold a slot until the returned descriptor is closed; None if another process holds it. Raises OSError."""
        return _try_lock(self._folder / f"{SLOT}{slot}")

    def free_slots(self) -> set[int]:
        """Return the slots that no worker holds. Call it inside `exclusive`: looking takes each slot for a moment."""
        numbers = (int(file.name.removeprefix(SLOT)) for file in self._folder.glob(f"{SLOT}*"))
        return {number for number in numbers if _is_free(self._folder / f"{SLOT}{number}")}

    def held_slots(self, limit: int) -> frozenset[int]:
        """Return those of the first `limit` slots that workers hold. It needs no lock: looking disturbs no other look,
        and a worker that takes a slot at that moment takes the next one."""
        return frozenset(itertools.takewhile(lambda number: number < limit, self._held_numbers()))

    def _held_numbers(self) -> Iterator[int]:
        for number in itertools.count():
            try:
                descriptor = os.open(self._folder / f"{SLOT}{number}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return  # slots are numbered without a gap
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield number
            finally:
                os.close(descriptor)


def _create(parent: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    (folder / _SINCE).write_text(str(time.monotonic()))
    # Held until the master and all its workers, who inherit the descriptor, have ended. The file gets its name after it
    # was locked: another master that starts at this moment would take the folder for an abandoned one.
    _try_lock(folder / _UNNAMED)
    (folder / _UNNAMED).rename(folder / _MASTER)
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, master: int) -> None:
    # Workers inherit the master's atexit functions with the fork; only the master may remove the folder.
    if os.getpid() == master:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of masters that were killed, once their workers have ended too."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (folder / _MASTER).exists() and _is_free(folder / _MASTER):
                shutil.rmtree(folder)


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _is_free(file: Path) -> bool:
    descriptor = _try_lock(file)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _try_lock(file: Path) -> int | None:
    """Lock a file until the returned descriptor is closed; None if another process has locked it.

    The descriptor is deliberately never closed by those who keep the lock: it ends with the process.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
