"""Time zones of a test's own, as files that `zoneinfo` reads: days that end in a moment, with or without a change of
the clock."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAY_S, HOUR_S = 86_400, 3_600
ZONE = "Test/Own"


@dataclass(frozen=True)
class Change:
    """From a moment (seconds since 1970) on, the local time is ahead of UTC by so many seconds."""

    at: int
    offset_s: int


def write_zone(folder: Path, offset_s: int, changes: Sequence[Change] = ()) -> Path:
    """Write the zone that has this offset at first, and return the folder for PYTHONTZPATH. RFC 9636 has the
    format."""
    file = folder / ZONE
    file.parent.mkdir(parents=True, exist_ok=True)
    offsets = [offset_s, *(change.offset_s for change in changes)]
    times = b"".join(struct.pack(">q", change.at) for change in changes) + bytes(range(1, len(offsets)))
    types = b"".join(struct.pack(">ibb", offset, 0, 0) for offset in offsets)
    empty = header(0, 1) + struct.pack(">ibb", 0, 0, 0) + b"OWN\0"
    file.write_bytes(empty + header(len(changes), len(offsets)) + times + types + b"OWN\0" + b"\n\n")
    return folder


def header(changes: int, types: int) -> bytes:
    return b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, changes, types, len(b"OWN\0"))


def offset_of_midnight(at: int) -> int:
    """Return the offset of a zone, within twelve hours, in which a day begins at this moment."""
    offset_s = -at % DAY_S
    return offset_s - DAY_S if offset_s > DAY_S // 2 else offset_s


def midnight_in(seconds: float) -> int:
    return int(time.time() + seconds)
