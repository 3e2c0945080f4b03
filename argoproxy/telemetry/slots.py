"""Where workers keep what they count: a folder that the master makes and removes, shared out in slots.

A slot is a number that one worker holds by a lock, which ends when the worker does, however it ends. Who takes a slot
over goes on with what was counted in it, so there are never more slots than there were workers at one time. Nothing
imported here may load ssl: the master needs it.
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

from argoproxy.telemetry.rotating_file import LONGEST_WAIT_S, lock

#: How the master tells its workers of the folder.
FOLDER_VARIABLE = "ARGOPROXY_METRICS_FOLDER"
PREFIX = "argoproxy-"
#: Where there is less room nothing is kept: to write to a mapped file on a full disk kills a process.
LEAST_ROOM_BYTES = 32 * 1024 * 1024

_SINCE = "since"
_MASTER = "master"
_DOOR = "door"
_SLOT = "slot-"


def places() -> Iterator[Path]:
    """Give the places in which the folder may be made, best first."""
    yield Path("/dev/shm")
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def make_folder(places: Iterable[Path], least_bytes: int = LEAST_ROOM_BYTES) -> Path | None:
    """Make the folder, in the first place that will do; it is removed when this process exits. None if none will."""
    for place in places:
        with suppress(OSError):
            _sweep(place)
            if _room_bytes(place) >= least_bytes:
                return _made(place)
    return None


def uptime_s(folder: Path) -> float:
    """Tell for how long the folder has been there. The clock is one for all processes and is never set."""
    return time.monotonic() - float((folder / _SINCE).read_text())


class Slots:
    """The slots of a folder."""

    def __init__(self, folder: Path, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._folder = folder
        self._longest_wait_s = longest_wait_s

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other processes from taking slots, or from looking at them. Raises TimeoutError, an OSError, while
        one of them does so for too long."""
        with (self._folder / _DOOR).open("w") as door:
            lock(door.fileno(), time.monotonic() + self._longest_wait_s)
            yield

    def take(self) -> int:
        """Take the first slot that nobody holds, until this process ends. To be called alone."""
        return next(number for number in itertools.count() if _locked(self._folder / f"{_SLOT}{number}") is not None)

    def idle(self) -> set[int]:
        """Give the slots that nobody holds. To be called alone."""
        numbers = (int(file.name.removeprefix(_SLOT)) for file in self._folder.glob(f"{_SLOT}*"))
        return {number for number in numbers if _is_free(self._folder / f"{_SLOT}{number}")}


def _made(place: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    (folder / _SINCE).write_text(str(time.monotonic()))
    (folder / _MASTER).touch()
    _locked(folder / _MASTER)
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, master: int) -> None:
    """Remove the folder, in the process that made it alone: workers inherit what is done at its exit."""
    if os.getpid() == master:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the folders of masters that could not do it themselves, and have no workers left."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (folder / _MASTER).exists() and _is_free(folder / _MASTER):
                shutil.rmtree(folder)


def _room_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def _is_free(file: Path) -> bool:
    descriptor = _locked(file)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _locked(file: Path) -> int | None:
    """Lock a file until its descriptor is closed, at the latest when this process and its children have ended; None
    when somebody else has locked it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
