"""`/api/log`: the end of the log that the workers write into the folder of the journal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from argoproxy.config.derived import JournalSettings
from argoproxy.console.views.view_shapes import LogLine, LogView
from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.telemetry.journal.writer import LOG_FILE
from argoproxy.telemetry.rotating_file import rotated_name

#: What is read at once, from the end.
MOST_BYTES = 256 * 1024
MOST_LINES = 1000
LONGEST_LINE = 4000
NO_LOG = (
    "The log goes to standard error alone; with output_path (OUTPUT_PATH, --output_path DIR) it is written to a file as"
    " well, which is shown here."
)
NOT_YET = "Nothing is in the log yet."

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?) (?:(DEBUG|INFO|WARNING|ERROR|CRITICAL) )?(.*)", re.DOTALL
)
_CODE = re.compile(r"code=(\w+)")
#: Fields of a line of JSON that are no part of its text.
_NAMED = frozenset(("time", "level", "code", "message", "exception"))
_REQUEST = re.compile(r"request id=(\S+)")


class LogTail(NamedTuple):
    """What of a log came after a cursor: whole lines, the next cursor, whether some lines between were missed, and why
    there are none."""

    text: str
    cursor: str
    is_gap: bool
    reason: str


def read_log(journal: JournalSettings | None, after: str) -> LogView:
    """Return the lines after a cursor, the last ones without it."""
    tail = read_tail(journal, after, MOST_BYTES)
    lines = parse_lines(tail.text.split("\n"))[-MOST_LINES:]
    return {"lines": lines, "cursor": tail.cursor, "is_gap": tail.is_gap, "reason": tail.reason}


def read_tail(journal: JournalSettings | None, after: str, most_bytes: int) -> LogTail:
    """Return what came after a cursor, or the end without it; `most_bytes` of each file at most."""
    if journal is None:
        return LogTail("", "", is_gap=False, reason=NO_LOG)
    path = journal.folder / LOG_FILE
    inode, offset = _parse_cursor(after)
    data, is_gap = b"", False
    try:
        with path.open("rb") as file:
            current = _inode(file)
            if inode not in (0, current):
                data, is_gap = _read_rotated(path, inode, offset, most_bytes)
            here, skipped = _read_from(file, offset if inode == current else 0, most_bytes)
            end = file.tell()
    except FileNotFoundError:
        return LogTail("", "", is_gap=False, reason=NOT_YET)
    except OSError as error:
        return LogTail("", "", is_gap=False, reason=f"The log can't be read: {error.strerror}.")
    text, rest = _whole_lines(data + here)
    return LogTail(text, f"{current}:{end - rest}", bool(inode) and (is_gap or skipped), "")


def parse_lines(lines: Iterable[str]) -> list[LogLine]:
    """Return lines with their fields; what is indented belongs to the line above."""
    parsed: list[LogLine] = []
    for line in lines:
        if not line.strip():
            continue
        if parsed and line.startswith("  "):
            parsed[-1]["text"] = f"{parsed[-1]['text']}\n{line}"[:LONGEST_LINE]
        else:
            parsed.append(_parse_json(line) if line.startswith("{") else _parse_plain(line))
    return parsed


def _parse_plain(line: str) -> LogLine:
    match = _LINE.fullmatch(line)
    at, level, text = (match[1], match[2] or "INFO", match[3]) if match else ("", "", line)
    return _make_line(at, level, text[:LONGEST_LINE])


def _parse_json(line: str) -> LogLine:
    try:
        fields: Json = as_dict(json.loads(line))
    except (ValueError, RecursionError):
        return _make_line("", "", line[:LONGEST_LINE])
    others = " ".join(f"{name}={log_value(value)}" for name, value in fields.items() if name not in _NAMED)
    text = f"{as_text(fields.get('message'))} {others}".strip()
    if exception := as_text(fields.get("exception")):
        text = f"{text}\n{exception}"
    made = _make_line(as_text(fields.get("time")), as_text(fields.get("level")).upper(), text[:LONGEST_LINE])
    return {**made, "code": as_text(fields.get("code")), "id": as_text(fields.get("id"))}


def _make_line(at: str, level: str, text: str) -> LogLine:
    code, request = _CODE.match(text), _REQUEST.match(text)
    return {
        "at": at,
        "level": level,
        "code": code[1] if code else "",
        "id": request[1] if request else "",
        "text": text,
    }


def _parse_cursor(cursor: str) -> tuple[int, int]:
    """Return the file and the place in it at which the last answer ended; 0 and 0 if there is no such cursor."""
    inode, _, offset = cursor.partition(":")
    is_cursor = inode.isascii() and inode.isdecimal() and offset.isascii() and offset.isdecimal()
    return (int(inode[:20]), int(offset[:20])) if is_cursor else (0, 0)


def _read_rotated(path: Path, inode: int, offset: int, most_bytes: int) -> tuple[bytes, bool]:
    """Return the rest of the file that was rotated since, and whether something was missed: only the last one is looked
    at."""
    try:
        with rotated_name(path, 1).open("rb") as file:
            if _inode(file) != inode:
                return b"", True
            return _read_from(file, offset, most_bytes)
    except FileNotFoundError:
        return b"", True


def _read_from(file: BinaryIO, offset: int, most_bytes: int) -> tuple[bytes, bool]:
    """Return the end of a file from `offset` on, and whether the limit left something out."""
    size = file.seek(0, 2)
    if offset > size:
        offset = 0
    start = max(offset, size - most_bytes)
    file.seek(start)
    data = file.read(size - start)
    if start > offset:
        data = data.partition(b"\n")[2]
    return data, start > offset


def _whole_lines(data: bytes) -> tuple[str, int]:
    """Return the lines that are complete, and the bytes of the one that is still being written."""
    whole, _, rest = data.rpartition(b"\n")
    return whole.decode("utf-8", "replace"), len(rest)


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
