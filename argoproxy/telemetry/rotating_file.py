"""Files of lines that any number of processes append to, and that are rotated at a size.

A lock on the file itself lets one process write at a time. It is the kernel's (flock), so it ends with its holder. A
process that finds the file full renames it, while it holds the lock; the others notice that the name now leads to
another file, and open that one. `logging.handlers.RotatingFileHandler` does none of this: with several processes it
loses lines.
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

#: How long a line waits for the lock. After one line did not get it, as on a disk that hangs, the next ones wait only
#: _SHORT_WAIT_S until one succeeds: otherwise each request would hold its thread for this long.
MAX_WAIT_S = 5.0
_SHORT_WAIT_S = 0.01
#: The files hold conversations: only their owner may read them.
PRIVATE = 0o600
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.0001, 0.001


class RotatingFile:
    """One such file. Threads share it; each process creates its own after the fork."""

    def __init__(self, path: Path, max_bytes: int, files: int, max_wait_s: float = MAX_WAIT_S) -> None:
        """`max_bytes` is the size at which the file is rotated, `files` how many rotated ones are kept beside it."""
        self._path, self._max_bytes, self._files = path, max_bytes, files
        self._max_wait_s = self._wait_s = max_wait_s
        self._thread_lock = threading.Lock()
        self._descriptor: int | None = None

    def __del__(self) -> None:
        """Close the file: after a reload another one may be configured."""
        self._close()

    def append(self, line: bytes) -> None:
        """Append a line, which ends in a newline, in one write. Raises OSError; then no part of the line is left."""
        deadline = time.monotonic() + self._wait_s
        try:
            with self._exclusive(deadline):
                descriptor, size = self._lock_current(len(line), deadline)
                _write(descriptor, line, size)
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except TimeoutError:
            self._wait_s = min(_SHORT_WAIT_S, self._max_wait_s)
            raise
        self._wait_s = self._max_wait_s

    def check(self) -> None:
        """Check that the file can be opened; create it and its folder if missing. Raises OSError."""
        with self._exclusive(time.monotonic() + self._wait_s):
            self._open()
            self._close()

    @contextmanager
    def _exclusive(self, deadline: float) -> Iterator[None]:
        """Keep other threads out: flock does not, they share the descriptor. After an error the file is closed, and
        with it the kernel's lock released."""
        if not self._thread_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError(errno.ETIMEDOUT, "another thread's write does not end")
        try:
            yield
        except BaseException:
            self._close()
            raise
        finally:
            self._thread_lock.release()

    def _lock_current(self, size: int, deadline: float) -> tuple[int, int]:
        """Lock the file that so many bytes fit into, rotating it if needed; return its descriptor and size."""
        while True:
            descriptor = self._open()
            lock_file(descriptor, deadline)
            status = os.fstat(descriptor)
            # Another process may have rotated the file before the lock was ours.
            if self._is_current(status):
                if not status.st_size or status.st_size + size <= self._max_bytes:
                    return descriptor, status.st_size
                self._rotate()
            self._close()

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = _open(self._path)
            _make_private(self._descriptor)
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _is_current(self, status: os.stat_result) -> bool:
        """Return whether the name still leads to this file."""
        try:
            return os.path.samestat(os.lstat(self._path), status)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _rotate(self) -> None:
        """Rename the file, and the rotated ones before it. A process that was killed here has left a gap in their
        numbers; the files are renamed only up to the gap, which fills it."""
        for file in rotated_files(self._path):
            if _number(file) > self._files:
                file.unlink(missing_ok=True)
        if not self._files:
            self._path.unlink()
            return
        gap = next((number for number in range(1, self._files) if not self._rotated_name(number).exists()), self._files)
        for number in range(gap, 1, -1):
            self._rotated_name(number - 1).rename(self._rotated_name(number))
        self._path.rename(self._rotated_name(1))

    def _rotated_name(self, number: int) -> Path:
        return rotated_name(self._path, number)


def rotated_name(path: Path, number: int) -> Path:
    """Return the name of a rotated file; the higher the number, the older the file."""
    return path.with_name(f"{path.name}.{number}")


def rotated_files(path: Path) -> list[Path]:
    """Return the rotated files that exist, newest first."""
    return sorted((file for file in path.parent.glob(f"{path.name}.*") if _number(file)), key=_number)


def lock_file(descriptor: int, deadline: float) -> None:
    """Lock a file. Raises TimeoutError at the deadline. It polls, because a waiting flock has no time-out."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps the file locked") from None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def _open(path: Path) -> int:
    """Open a file, creating it if missing. Raises OSError, also for a symbolic link: in a folder that others can write
    to, they could choose with it which file is written."""
    try:
        return os.open(path, _OPEN_FLAGS, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "the file is a symbolic link") from None
        raise


def _make_private(descriptor: int) -> None:
    """Take from others the access to a file that existed before. Raises OSError for one that belongs to another user,
    who could read what is written, and for one that is not a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "a file in it belongs to another user")
    if stat.S_IMODE(status.st_mode) != PRIVATE:
        os.fchmod(descriptor, PRIVATE)


def _write(descriptor: int, line: bytes, size: int) -> None:
    """Write a line at the end, which is at `size`. Raises OSError if the disk is full."""
    # A process that was killed in its write has left half a line: end it, so that it does not swallow this one.
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _number(file: Path) -> int:
    digits = file.name.rpartition(".")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0
