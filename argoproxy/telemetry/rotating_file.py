"""Files of lines that any number of processes append to, and that never grow beyond a size.

A lock on the file itself lets one process at it at a time: a killed one can leave half a line, and whoever comes next
must see that before anything is put behind it. The lock is the kernel's, so it ends with its holder. Whoever finds a
file full renames it, under the same lock; the others find that the name leads to another file, and open that one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: How long a line waits for its turn, once. While somebody keeps the lock that long, later lines wait the shorter time.
LONGEST_WAIT_S = 5.0
_SHORT_WAIT_S = 0.01
#: What lines hold is their owner's business alone.
PRIVATE = 0o600
_HOW = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0001, 0.001


class RotatingFile:
    """One such file. Threads share it; each process makes its own after it was forked."""

    def __init__(self, path: Path, max_bytes: int, files: int, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        """Name the file, how many bytes it may have, and how many older ones are kept beside it."""
        self._path, self._max_bytes, self._files = path, max_bytes, files
        self._longest_wait_s = self._wait_s = longest_wait_s
        self._turn = threading.Lock()
        self._descriptor: int | None = None

    def __del__(self) -> None:
        """Let go of the file: settings that were read anew may name another one."""
        self._close()

    def append(self, line: bytes) -> None:
        """Append a line, which ends in a newline, in one write. Raises OSError; then nothing of the line stays."""
        deadline = time.monotonic() + self._wait_s
        try:
            with self._alone(deadline):
                descriptor, size = self._room_for(len(line), deadline)
                _write(descriptor, line, size)
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except TimeoutError:
            self._wait_s = min(_SHORT_WAIT_S, self._longest_wait_s)
            raise
        self._wait_s = self._longest_wait_s

    def check(self) -> None:
        """See that the file can be opened, making it and its folder if missing. Raises OSError."""
        with self._alone(time.monotonic() + self._wait_s):
            self._opened()
            self._close()

    @contextmanager
    def _alone(self, deadline: float) -> Iterator[None]:
        """Keep the other threads out; what fails here gives up the descriptor, and the lock with it."""
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError(errno.ETIMEDOUT, "a write before this one does not end")
        try:
            yield
        except BaseException:
            self._close()
            raise
        finally:
            self._turn.release()

    def _room_for(self, size: int, deadline: float) -> tuple[int, int]:
        """Lock the file that so many bytes go into: its descriptor, and how many it has."""
        while True:
            descriptor = self._opened()
            lock(descriptor, deadline)
            found = os.fstat(descriptor)
            if self._is_current(found):
                if not found.st_size or found.st_size + size <= self._max_bytes:
                    return descriptor, found.st_size
                self._rotate()
            self._close()

    def _opened(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = _open(self._path)
            _make_private(self._descriptor)
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _is_current(self, found: os.stat_result) -> bool:
        """Whether the name still leads to this file."""
        try:
            return os.path.samestat(os.lstat(self._path), found)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _rotate(self) -> None:
        """Put the file among the older ones. A process killed on the way leaves a gap, which the next one fills."""
        for beyond in rotated_files(self._path):
            if _number(beyond) > self._files:
                beyond.unlink(missing_ok=True)
        if not self._files:
            self._path.unlink()
            return
        gap = next((number for number in range(1, self._files) if not self._named(number).exists()), self._files)
        for number in range(gap, 1, -1):
            self._named(number - 1).rename(self._named(number))
        self._path.rename(self._named(1))

    def _named(self, number: int) -> Path:
        return rotated_name(self._path, number)


def _open(path: Path) -> int:
    """Open a file, making it if missing. Raises OSError, also for a symbolic link: in a folder that others can write,
    it would have them choose what is written to."""
    try:
        return os.open(path, _HOW, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link is in a file's place") from None
        raise


def _make_private(descriptor: int) -> None:
    """Take from others what they may do with a file that was there already. Raises OSError for one that is not ours,
    whose owner could read what is written, and for what is no file."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "what is in a file's place is no plain file")
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "a file in it belongs to another user")
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        os.fchmod(descriptor, PRIVATE)


def rotated_name(path: Path, number: int) -> Path:
    """Name the older file of a number; the higher it is, the older the file."""
    return path.with_name(f"{path.name}.{number}")


def rotated_files(path: Path) -> list[Path]:
    """Give the older files that are there, the newest one first."""
    found = (file for file in path.parent.glob(f"{path.name}.*") if _number(file))
    return sorted(found, key=_number)


def _number(file: Path) -> int:
    digits = file.name.rpartition(".")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def lock(descriptor: int, deadline: float) -> None:
    """Lock a file. Raises TimeoutError when the time is over. Polls: a wait in the kernel would have no bound."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps the file locked") from None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _write(descriptor: int, line: bytes, size: int) -> None:
    """Write a line behind what is there; half a line there gets its end first."""
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
