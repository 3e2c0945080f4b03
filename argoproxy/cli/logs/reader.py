"""Reading a journal's files while others write them: line by line, older files too, whatever is put aside meanwhile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from argoproxy.protocol.json_text import Json, JsonError, loads
from argoproxy.telemetry.rotating_file import numbered, older

BLOCK_BYTES = 64 * 1024
#: So many ids that begin alike are told.
MOST_IDS = 10

_LINES_ID = rb'"logging_id"\s*:\s*"'


class Lines:
    """Parses lines; those that are none of a journal are passed over and counted."""

    def __init__(self) -> None:
        self.broken = 0

    def parsed(self, lines: Iterable[bytes]) -> Iterator[Json]:
        """Give the documents of lines; empty ones are nothing."""
        for line in lines:
            if not line.strip():
                continue
            document = _loaded(line)
            if isinstance(document, dict) and isinstance(document.get("logging_id"), str):
                yield document
            else:
                self.broken += 1


@contextmanager
def opened(path: Path) -> Iterator[list[BinaryIO]]:
    """Open a file and the older ones beside it, the oldest one first, all before anything is read.

    They are opened from the newest to the oldest: one that moves on meanwhile is met again, and none is missed. When
    a new file was begun before the last one was opened, all is done again.
    """
    with ExitStack() as stack:
        yield _opened(path, stack)


def all_lines(files: Sequence[BinaryIO]) -> Iterator[bytes]:
    """Give the lines of files, the oldest one first. One that is just being written is not there yet."""
    for file in files:
        yield from (line for line in file if file is not files[-1] or line.endswith(b"\n"))


class Tail:
    """The end of a file that is written and put aside meanwhile: its last lines, then what is new.

    The files stay open, the older ones too: as long as they are, no new one can be taken for one of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._files: list[BinaryIO] = []
        self._read_bytes = 0

    def last(self, count: int) -> Iterator[bytes]:
        """Give the last lines there are, read from the end."""
        self._files = _opened(self._path, self._stack)
        for file in self._files[-1:]:
            count -= _step_back(file, count)
            self._read_bytes = file.tell()
        older_ones = self._files[:-1]
        while older_ones and count:
            count -= _step_back(older_ones.pop(), count)
        yield from chain.from_iterable(self._files[len(older_ones) : -1])
        yield from self._whole()

    def new(self) -> Iterator[bytes]:
        """Give the lines that were written since somebody asked."""
        yield from self._whole()
        if not _leads_to(self._path, self._files[-1] if self._files else None):
            yield from self._put_aside()

    def close(self) -> None:
        """Let go of the files."""
        self._stack.close()

    def _whole(self) -> Iterator[bytes]:
        """Give the lines of the newest file from the first unread one on, as far as they are whole."""
        for file in self._files[-1:]:
            if os.fstat(file.fileno()).st_size < self._read_bytes:
                self._read_bytes = 0
            file.seek(self._read_bytes)
            for line in iter(file.readline, b""):
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                yield line

    def _put_aside(self) -> Iterator[bytes]:
        """Go on to the files that came after those that are known."""
        stack = ExitStack()
        files = _opened(self._path, stack)
        known = {_identity(file) for file in self._files}
        later = files[max((place for place, file in enumerate(files, 1) if _identity(file) in known), default=0) :]
        if not later:
            stack.close()
            return
        # Nobody writes to a file that was put aside: what is left is all, half a line too.
        yield from self._whole()
        for file in self._files[-1:]:
            file.seek(self._read_bytes)
            yield from file
        self._stack.close()
        self._stack, self._files, self._read_bytes = stack, files, 0
        yield from chain.from_iterable(later[:-1])
        yield from self._whole()


def alike(path: Path, beginning: str) -> dict[str, Json]:
    """Find the lines whose id begins so, by their id, from the newest file on: at most ten of them, and the only one
    as soon as the id is a whole one."""
    found: dict[str, Json] = {}
    with opened(path) as files:
        for file in reversed(files):
            for line in _with_id(file, re.escape(beginning.encode())):
                if line["logging_id"] == beginning:
                    return {beginning: line}
                if line["logging_id"].startswith(beginning) and len(found) < MOST_IDS:
                    found[line["logging_id"]] = line
    return found


def lines_of(path: Path, logging_id: str) -> list[Json]:
    """Find the lines of an id, in their order. Those of one exchange are written together: once some are found, files
    that hold none of them end the search."""
    found: list[Json] = []
    with opened(path) as files:
        for file in reversed(files):
            candidates = _with_id(file, re.escape(logging_id.encode()) + b'"')
            here = [line for line in candidates if line["logging_id"] == logging_id]
            if found and not here:
                break
            found = [*here, *found]
    return found


def _opened(path: Path, stack: ExitStack) -> list[BinaryIO]:
    while True:
        newest = _open(path, stack)
        found = {_identity(file): file for file in (newest,) if file}
        for name in _older_names(path):
            if file := _open(name, stack):
                found.setdefault(_identity(file), file)
        if _leads_to(path, newest):
            return [*reversed(found.values())]
        stack.close()


def _older_names(path: Path) -> list[Path]:
    """Give the names that older files may have. While all move on, the last one may be overlooked in its place, and
    be at the next one when that is looked at."""
    highest = max((int(file.suffix[1:]) for file in older(path)), default=0)
    return [numbered(path, number) for number in range(1, highest + 3)]


def _open(file: Path, stack: ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(file.open("rb"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _leads_to(path: Path, file: BinaryIO | None) -> bool:
    """Whether a name leads to this file; None is no file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return file is None
    return file is not None and os.path.samestat(found, os.fstat(file.fileno()))


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _step_back(file: BinaryIO, wanted: int) -> int:
    """Go to where the last lines of a file begin; gives how many there are, at most those wanted."""
    at, seen = file.seek(0, os.SEEK_END), 0
    while at:
        size = min(BLOCK_BYTES, at)
        at = file.seek(at - size)
        block = file.read(size)
        place = size
        while (place := block.rfind(b"\n", 0, place)) >= 0:
            if seen == wanted:
                file.seek(at + place + 1)
                return seen
            seen += 1
    file.seek(0)
    return seen


def _with_id(file: BinaryIO, pattern: bytes) -> Iterator[Json]:
    """Give the lines in which an id like this stands somewhere; only those are parsed."""
    search = re.compile(_LINES_ID + pattern).search
    return Lines().parsed(line for line in file if search(line))


def _loaded(line: bytes) -> Any:
    try:
        return loads(line)
    except JsonError:
        return None
