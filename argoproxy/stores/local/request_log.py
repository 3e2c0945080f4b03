"""What a worker leaves behind of its requests: which run, what is set aside for them, and what became of those that
ended and are not in the database yet. If it is killed, another one charges them by this.

A log is a file in memory, one for each slot of a worker: records, one behind the other. A record counts once the end of
the log, a word in the table of counters, is behind it: so counters and records change in one step. A full file is
followed by another one with the records that are still needed; the word tells which of them counts.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.counter_table import CounterTable
from argoproxy.stores.sqlite_file import give_to_owner_of_folder
from argoproxy.telemetry.rotating_file import PRIVATE

MIN_BYTES = 1 << 20
_NAME = re.compile(r"requests-(\d+)-(\d+)")
_HEAD = struct.Struct("<II")
#: The end of a log: the number of its file, and the offset in it.
_OFFSET_BITS = 40
_OFFSET = (1 << _OFFSET_BITS) - 1
#: The end of a log without a file; 0 is one that is not known, because the table of counters was lost.
EMPTY = 1
_KINDS = {kind.value: kind for kind in LimitKind}
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_encode = json.JSONEncoder(separators=(",", ":")).encode


class RunningRequest(NamedTuple):
    """A request that runs: its claims, the tokens that it is charged if its worker is killed, and what is written down
    of it then."""

    claims: Sequence[Claim]
    abandoned_tokens: int
    if_abandoned: LedgerEntry


@dataclass
class LogContent:
    """What a log says, by request: those that run, and the entries of those that ended."""

    open: dict[str, RunningRequest] = field(default_factory=dict)
    settled: dict[str, LedgerEntry] = field(default_factory=dict)


def encode_running(request: RunningRequest) -> bytes:
    """Return the record of a request that begins, or that has more claims than before."""
    return _frame(request)


def encode_settled(request_id: str, entry: LedgerEntry | None) -> bytes:
    """Return the record of a request that ended."""
    return _frame((request_id, entry))


class RequestLog:
    """The log of a slot. Only who holds the slot may use it."""

    def __init__(self, folder: Path, slot: int, table: CounterTable) -> None:
        self.slot, self._folder, self._table = slot, folder, table
        self._memory: mmap.mmap | None = None

    def read(self) -> LogContent:
        """Return what the log says; where its end is not known, all records that are whole. Raises OSError."""
        end, content = self._table.log_end(self.slot), LogContent()
        for number, file in self._files():
            if not end:
                _read_records(file.read_bytes(), content)
            elif number == end >> _OFFSET_BITS:
                _read_records(file.read_bytes()[: end & _OFFSET], content)
        return content

    def append(self, record: bytes, needed: Callable[[], Iterable[bytes]]) -> int:
        """Write a record behind the last one, and return the end behind it, with which the record counts. A full file
        is followed by one with the records that are `needed`. Raises OSError."""
        end = self._table.log_end(self.slot)
        memory, offset = self._memory, end & _OFFSET
        if memory is None or offset + len(record) > len(memory):
            end = self.write_file(needed(), len(record))
            self._table.set_log_end(self.slot, end)
            self.remove_others(end)
            memory, offset = self._memory, end & _OFFSET
            assert memory is not None
        memory[offset : offset + len(record)] = record
        return end + len(record)

    def write_file(self, records: Iterable[bytes], room: int = 0) -> int:
        """Write records to another file, with room for more, and return its end. Raises OSError."""
        text = b"".join(records)
        size = max(MIN_BYTES, 4 * (len(text) + room))
        number = max((number for number, _ in self._files()), default=0) + 1
        descriptor = os.open(self._folder / f"requests-{self.slot}-{number}", _FLAGS, PRIVATE)
        try:
            give_to_owner_of_folder(descriptor, self._folder)
            os.posix_fallocate(descriptor, 0, size)
            self._memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._memory[: len(text)] = text
        return number << _OFFSET_BITS | len(text)

    def remove_others(self, end: int) -> None:
        """Remove all files but the one with this end; all of them if it has no file."""
        for number, file in self._files():
            if number != end >> _OFFSET_BITS:
                with suppress(OSError):
                    file.unlink()

    def _files(self) -> list[tuple[int, Path]]:
        found = ((_NAME.fullmatch(file.name), file) for file in self._folder.glob(f"requests-{self.slot}-*"))
        return sorted((int(match[2]), file) for match, file in found if match)


def logged_slots(folder: Path) -> set[int]:
    """Return the slots that have a log."""
    return {int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name))}


def _frame(value: Any) -> bytes:
    text = _encode(value).encode()
    return _HEAD.pack(len(text), crc32(text)) + text


def _read_records(data: bytes, content: LogContent) -> None:
    """Add records to what is known, up to the first one that is not whole."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        size, check = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        text = data[offset : offset + size]
        if not size or len(text) < size or crc32(text) != check:
            return
        offset += size
        _read_record(json.loads(text), content)


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
    content.open[entry.request_id] = RunningRequest(made, tokens, entry)
