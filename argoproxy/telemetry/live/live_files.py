"""Files in the folder that workers share, in which each says what it serves: only while the console is open.

A file is written under another name and then renamed, so no reader sees half of it. A worker's files bear the number of
its slot, whose lock the kernel releases when the worker ends: those of a worker that was killed are not read any more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from argoproxy.shared_state.mapped_file import MAX_SLOTS
from argoproxy.telemetry.slots import Slots

#: The reader sets the time of this file; workers write for so long after it.
MARK, WATCHED_S = "live-watched", 5.0
#: The mark is set again after this time at the earliest.
MARK_EVERY_S = 1.0
OPEN, ENDED = "live-open", "live-ended"
_PRIVATE = 0o600
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class OpenRequest(TypedDict):
    """A request that is being served. It came `at` (seconds since 1970). Times are milliseconds, None for what did not
    happen; `silent_ms` is how long nothing was sent to the client. `phase` is `read`, `waits` for a place at an
    upstream, `asked` until the upstream's reply begins, `answered`, and `sent` from the first byte to the client on.
    `tokens` are those of the answer so far, about; None where they are not counted."""

    id: str
    at: float
    model: str
    sent_model: str
    upstream: str
    key: str
    phase: str
    is_stream: bool
    elapsed_ms: float
    first_byte_ms: float | None
    silent_ms: float
    bytes_sent: int
    tokens: int | None


class EndedRequest(TypedDict):
    """A request that ended `at` (seconds since 1970)."""

    id: str
    at: float
    model: str
    upstream: str
    key: str
    status: int
    ending: str
    code: str
    first_byte_ms: float | None
    total_ms: float
    prompt_tokens: int | None
    completion_tokens: int | None


_FIELDS = {OPEN: OpenRequest.__annotations__.keys(), ENDED: EndedRequest.__annotations__.keys()}


class LiveFolder:
    """The files of all workers in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._slots = folder, Slots(folder)
        self._marked_at = float("-inf")
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}

    def is_watched(self, now: float) -> bool:
        """Return whether the console is open; `now` is in seconds since 1970."""
        try:
            return abs(now - os.stat(self._folder / MARK).st_mtime) < WATCHED_S
        except OSError:
            return False

    def write(self, name: str, slot: int, text: str) -> None:
        """Replace a file of a slot. Raises OSError."""
        path = self._path(name, slot)
        new = path.with_name(f"{path.name}.new")
        descriptor = os.open(new, _FLAGS, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        new.rename(path)

    def remove(self, slot: int) -> None:
        """Remove the files of a slot."""
        for name in (OPEN, ENDED):
            with suppress(OSError):
                self._path(name, slot).unlink(missing_ok=True)

    def look(self, name: str) -> list[Any]:
        """Return what the files of a name hold, of all workers that run, and have them go on writing."""
        self._mark()
        held = self._slots.held_slots(MAX_SLOTS)
        return [one for slot in sorted(held) for one in self._read_file(name, slot)]

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marked_at >= MARK_EVERY_S:
            self._marked_at = now
            with suppress(OSError):  # the proxy has ended, and its folder is gone
                (self._folder / MARK).touch(_PRIVATE)

    def _read_file(self, name: str, slot: int) -> Any:
        """Return what a file holds; read again only if it has changed. Workers of another version, whose package was
        replaced while they run, may write other fields: those requests are left out."""
        path = self._path(name, slot)
        try:
            status = os.stat(path)
            stamp = status.st_ino, status.st_mtime_ns
            before, found = self._read.get(path, (None, []))
            if stamp != before:
                rows = json.loads(path.read_text())
                found = [row for row in rows if isinstance(row, dict) and row.keys() == _FIELDS[name]]
                self._read[path] = stamp, found
        except (OSError, ValueError, TypeError):
            return []
        return found

    def _path(self, name: str, slot: int) -> Path:
        return self._folder / f"{name}-{slot}"


def encode(document: OpenRequest | EndedRequest) -> str:
    """Return a request as JSON, in ASCII."""
    return json.dumps(document, separators=(",", ":"))


def join(texts: Iterable[str]) -> str:
    """Return the JSON of a list of what is JSON already."""
    return f"[{','.join(texts)}]"
