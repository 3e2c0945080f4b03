"""Read a journal's files, rotated ones too, while workers write and rotate them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.telemetry.rotating_file import rotated_files, rotated_name

BLOCK_BYTES = 64 * 1024
#: How many ids are returned for a prefix that is not unique.
MAX_IDS = 10

_ID_FIELD = rb'"logging_id"\s*:\s*"'


class LineParser:
    """Parses lines, and counts those that are not a journal's."""

    def __init__(self) -> None:
        self.broken = 0

    def parse(self, lines: Iterable[bytes]) -> Iterator[Json]:
        """Yield the documents of lines; empty lines are skipped."""
        for line in lines:
            if not line.strip():
                continue
            document = _load(line)
            if isinstance(document, dict) and isinstance(document.get("logging_id"), str):
                yield document
            else:
                self.broken += 1


@contextmanager
def open_files(path: Path) -> Iterator[list[BinaryIO]]:
    """Open a file and the rotated ones beside it, oldest first, all before anything is read.

    They are opened from the newest to the oldest: a file that is renamed meanwhile is met again under its next name,
    and none is missed. If a new file was begun before the last one was opened, everything is opened again.
    """
    with ExitStack() as stack:
        yield _open_files(path, stack)


def read_lines(files: Sequence[BinaryIO]) -> Iterator[bytes]:
    """Yield the lines of files, oldest first, without a last line that is still being written."""
    for file in files:
        yield from (line for line in file if file is not files[-1] or line.endswith(b"\n"))


class Tail:
    """The end of a file that is written and rotated meanwhile: its last lines, then each new one.

    All files stay open, the rotated ones too: the inode of an open file is not used again, so that no new file can be
    mistaken for one of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._files: list[BinaryIO] = []
        self._read_bytes = 0

    def last_lines(self, count: int) -> Iterator[bytes]:
        """Yield the last lines there are, read from the end."""
        self._files = _open_files(self._path, self._stack)
        for file in self._files[-1:]:
            count -= _seek_back(file, count)
            self._read_bytes = file.tell()
        earlier = self._files[:-1]
        while earlier and count:
            count -= _seek_back(earlier.pop(), count)
        yield from chain.from_iterable(self._files[len(earlier) : -1])
        yield from self._unread_lines()

    def new_lines(self) -> Iterator[bytes]:
        """Yield the lines that were written since the last call."""
        yield from self._unread_lines()
        if not _is_at(self._path, self._files[-1] if self._files else None):
            yield from self._lines_after_rotation()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _unread_lines(self) -> Iterator[bytes]:
        """Yield the complete lines of the newest file that were not read yet."""
        for file in self._files[-1:]:
            if os.fstat(file.fileno()).st_size < self._read_bytes:
                self._read_bytes = 0
            file.seek(self._read_bytes)
            for line in iter(file.readline, b""):
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                yield line

    def _lines_after_rotation(self) -> Iterator[bytes]:
        """Go on to the files that were begun after the known ones."""
        stack = ExitStack()
        files = _open_files(self._path, stack)
        known = {_identity(file) for file in self._files}
        later = files[max((index for index, file in enumerate(files, 1) if _identity(file) in known), default=0) :]
        if not later:
            stack.close()
            return
        # A rotated file is not written any more: what is left in it is all there will be, half a line too.
        yield from self._unread_lines()
        for file in self._files[-1:]:
            file.seek(self._read_bytes)
            yield from file
        self._stack.close()
        self._stack, self._files, self._read_bytes = stack, files, 0
        yield from chain.from_iterable(later[:-1])
        yield from self._unread_lines()


def find_ids(path: Path, prefix: str) -> dict[str, Json]:
    """Return the lines whose id has this prefix, by their id: at most MAX_IDS, from the newest file on; only the one
    if the prefix is a whole id."""
    lines: dict[str, Json] = {}
    with open_files(path) as files:
        for file in reversed(files):
            for line in _parse_matching(file, re.escape(prefix.encode())):
                if line["logging_id"] == prefix:
                    return {prefix: line}
                if line["logging_id"].startswith(prefix) and len(lines) < MAX_IDS:
                    lines[line["logging_id"]] = line
    return lines


def find_lines(path: Path, logging_id: str) -> list[Json]:
    """Return the lines of an id, in their order. Those of one request are written together: once some were found, a
    file without any ends the search."""
    lines: list[Json] = []
    with open_files(path) as files:
        for file in reversed(files):
            candidates = _parse_matching(file, re.escape(logging_id.encode()) + b'"')
            here = [line for line in candidates if line["logging_id"] == logging_id]
            if lines and not here:
                break
            lines = [*here, *lines]
    return lines


def _open_files(path: Path, stack: ExitStack) -> list[BinaryIO]:
    while True:
        newest = _open(path, stack)
        files = {_identity(file): file for file in (newest,) if file}
        for name in _possible_names(path):
            if file := _open(name, stack):
                files.setdefault(_identity(file), file)
        if _is_at(path, newest):
            return [*reversed(files.values())]
        stack.close()


def _possible_names(path: Path) -> list[Path]:
    """Return the names that rotated files may have. While all are renamed, the oldest one can be missed under its
    name; it is then under the next one when that is opened, hence one more."""
    highest = max((int(file.suffix[1:]) for file in rotated_files(path)), default=0)
    return [rotated_name(path, number) for number in range(1, highest + 3)]


def _open(file: Path, stack: ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(file.open("rb"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_at(path: Path, file: BinaryIO | None) -> bool:
    """Return whether a path leads to this open file; None stands for no file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return file is None
    return file is not None and os.path.samestat(status, os.fstat(file.fileno()))


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _seek_back(file: BinaryIO, count: int) -> int:
    """Seek to the beginning of the last `count` lines; return how many there are, at most `count`."""
    offset, seen = file.seek(0, os.SEEK_END), 0
    while offset:
        size = min(BLOCK_BYTES, offset)
        offset = file.seek(offset - size)
        block = file.read(size)
        index = size
        while (index := block.rfind(b"\n", 0, index)) >= 0:
            if seen == count:
                file.seek(offset + index + 1)
                return seen
            seen += 1
    file.seek(0)
    return seen


def _parse_matching(file: BinaryIO, pattern: bytes) -> Iterator[Json]:
    """Parse only the lines with an id that matches; parsing all would take seconds."""
    search = re.compile(_ID_FIELD + pattern).search
    return LineParser().parse(line for line in file if search(line))


def _load(line: bytes) -> Any:
    try:
        return loads(line)
    except JsonError:
        return None
