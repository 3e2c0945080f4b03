"""What a worker leaves behind of its requests: which run, what is set aside for them, and what became of those that
ended and are not in the database yet. If it is killed, another one charges them by this.

A log is two files in memory for each slot of a worker, used by turns: records, one behind the other. A record counts
once the end of the log, a word in the table of counters, is behind it: so counters and records change in one step. If a
file is full, the records that are still needed are written to the other one, and the word then leads there. Each such
turn has a number, which is in the word, at the beginning of the file and in the checks of its records.
"""

from __future__ import annotations

import json
import marshal
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.counter_table import CounterTable
from argoproxy.stores.sqlite_file import give_to_owner_of_folder
from argoproxy.telemetry.rotating_file import PRIVATE

MIN_BYTES = 1 << 19
_NAME = re.compile(r"requests-(\d+)-[01]")
_FILE_HEAD, _RECORD_HEAD = struct.Struct("<Q"), struct.Struct("<II")
#: The end of a log: the number of its turn, and the offset in its file.
_OFFSET_BITS = 40
_OFFSET = (1 << _OFFSET_BITS) - 1
#: The end of a log without a file; 0 is one that is not known, because the table of counters was lost.
EMPTY = 1
_KINDS = {kind.value: kind for kind in LimitKind}
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
#: Of the format in which marshal writes, the one that all versions of Python read that this program runs with; JSON
#: takes two to four times as long.
_FORMAT = 4
#: Part of the checks of records: those of a version that wrote them in another form are none.
_SEED = crc32(b"marshal")
_WORD = 0xFFFFFFFF


@dataclass
class LogContent:
    """What a log says, by request: those that run, and the entries of those that ended."""

    open: dict[str, Reservation] = field(default_factory=dict)
    settled: dict[str, LedgerEntry] = field(default_factory=dict)


def encode_running(request: Reservation) -> bytes:
    """Return the record of a request that begins, or that has more claims than before."""
    claims = [(row, str(kind), *rest) for row, kind, *rest in request.claims]
    return _encode((claims, request.abandoned_tokens, tuple(request.if_abandoned)))


def encode_settled(request_id: str, entry: LedgerEntry | None) -> bytes:
    """Return the record of a request that ended."""
    return _encode((request_id, entry and tuple(entry)))


class RequestLog:
    """The log of a slot. Only who holds the slot may use it."""

    def __init__(self, folder: Path, slot: int, table: CounterTable) -> None:
        self.slot, self._ends = slot, table.log_ends
        self._paths = [folder / f"requests-{slot}-{number}" for number in range(2)]
        self._memory: mmap.mmap | None = None

    def read(self) -> LogContent:
        """Return what the log says; where its end is not known, all records that are whole. Raises OSError."""
        end, content = self._ends[self.slot], LogContent()
        if end:
            data = _read_file(self._paths[_turn_of(end) % 2])[: end & _OFFSET]
        else:
            data = max(map(_read_file, self._paths), key=_turn_in)
        if _turn_in(data):
            _read_records(data, content)
        return content

    def append(self, record: bytes, needed: Callable[[], Iterable[bytes]]) -> int:
        """Write a record behind the last one, and return the end behind it, with which the record counts. A full file
        is followed by the other one with the records that are `needed`. Raises OSError."""
        end, memory, size = self._ends[self.slot], self._memory, _RECORD_HEAD.size + len(record)
        if memory is None or (end & _OFFSET) + size > len(memory):
            end = self.begin_turn(needed(), size)
            self._ends[self.slot] = end
            memory = self._memory
            assert memory is not None
        offset = end & _OFFSET
        check = crc32(record, _SEED + (end >> _OFFSET_BITS) & _WORD)
        memory[offset : offset + size] = _RECORD_HEAD.pack(len(record), check) + record
        return end + size

    def allocate(self) -> None:
        """Allocate both files: once the disk is full, it is too late. Raises OSError."""
        for path in self._paths:
            _map_file(path, 0).close()

    def begin_turn(self, records: Iterable[bytes], room: int = 0) -> int:
        """Write records to the file that is not in use, with room for more, and return its end. It is begun anew only
        where it is too small: on a full disk none could be. Raises OSError."""
        turn = self._next_turn()
        text = b"".join(_frame(record, turn) for record in records)
        size = _FILE_HEAD.size + len(text)
        memory = self._memory = _map_file(self._paths[turn % 2], size + room)
        memory[_FILE_HEAD.size : size] = text
        _FILE_HEAD.pack_into(memory, 0, turn)
        return turn << _OFFSET_BITS | size

    def _next_turn(self) -> int:
        """Return a later turn than all before, of the file that does not count: another one may have been begun there
        by a worker that was killed."""
        current = _turn_of(self._ends[self.slot])
        latest = max(current, *(_turn_in(_read_head(path)) for path in self._paths))
        return latest + 2 if current and (latest - current) % 2 else latest + 1

    def remove(self) -> None:
        """Remove the files."""
        self._memory = None
        for path in self._paths:
            with suppress(OSError):
                path.unlink()


def logged_slots(folder: Path) -> set[int]:
    """Return the slots that have a log."""
    return {int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name))}


def _map_file(path: Path, needed: int) -> mmap.mmap:
    """Map a file that has at least so many bytes. Raises OSError."""
    descriptor = os.open(path, _FLAGS, PRIVATE)
    try:
        size = os.fstat(descriptor).st_size
        if size < max(MIN_BYTES, needed):
            give_to_owner_of_folder(descriptor, path.parent)
            size = max(MIN_BYTES, 4 * needed)
            os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_HEAD.size)
    except FileNotFoundError:
        return b""


def _turn_of(end: int) -> int:
    return end >> _OFFSET_BITS


def _turn_in(data: bytes) -> int:
    """Return the turn of a file, 0 if it has none."""
    turn: int = _FILE_HEAD.unpack_from(data)[0] if len(data) >= _FILE_HEAD.size else 0
    return turn


def _encode(value: tuple[Any, ...]) -> bytes:
    try:
        return marshal.dumps(value, _FORMAT)
    except ValueError:  # a subclass of str or int, such as a plug-in may name its upstream with
        return marshal.dumps(json.loads(json.dumps(value)), _FORMAT)


def _frame(record: bytes, turn: int) -> bytes:
    return _RECORD_HEAD.pack(len(record), crc32(record, _SEED + turn & _WORD)) + record


def _read_records(data: bytes, content: LogContent) -> None:
    """Add records to what is known, up to the first one that is not whole, or of another turn."""
    offset, turn = _FILE_HEAD.size, _turn_in(data)
    while offset + _RECORD_HEAD.size <= len(data):
        size, check = _RECORD_HEAD.unpack_from(data, offset)
        offset += _RECORD_HEAD.size
        record = data[offset : offset + size]
        if not size or len(record) < size or crc32(record, _SEED + turn & _WORD) != check:
            return
        offset += size
        with suppress(ValueError, EOFError, TypeError, LookupError):  # a version that wrote others
            _read_record(marshal.loads(record), content)  # noqa: S302 the file is private to the user of the workers


def _read_record(value: Any, content: LogContent) -> None:
    if isinstance(value[0], str):
        request_id, values = value
        content.open.pop(request_id, None)
        if values:
            content.settled[request_id] = LedgerEntry(*values)
        return
    claims, tokens, values = value
    made = [Claim(row, _KINDS[kind], *rest) for row, kind, *rest in claims]
    entry = LedgerEntry(*values)
    content.open[entry.request_id] = Reservation(made, entry, tokens)
