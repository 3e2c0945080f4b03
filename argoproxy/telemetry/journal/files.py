"""The journal: what clients asked and got, what upstreams were asked and said, and a log, in a folder of files.

Writing it never fails a request. A line that can't be written is counted, and warned of once a minute at most.
"""

from __future__ import annotations

import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from argoproxy.config.values.config_error import ConfigError
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.telemetry.rotating_file import RotatingFile

logger = logging.getLogger("argoproxy")

CLIENT_FILE, SERVER_FILE, LOG_FILE = "client_interaction.jsonl", "server_interaction.jsonl", "log.log"
BETWEEN_WARNINGS_S = 60.0
#: What writing JSON raises: JsonError is a ValueError.
_UNWRITABLE = (TypeError, ValueError, RecursionError)


class JournalFiles:
    """Three files that workers append to; each worker makes its own JournalFiles after it was forked."""

    def __init__(self, folder: Path, max_bytes: int, files: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Name the folder, how many bytes each file may have, and how many older ones are kept beside it."""
        self._folder = folder
        self._client = RotatingFile(folder / CLIENT_FILE, max_bytes, files)
        self._server = RotatingFile(folder / SERVER_FILE, max_bytes, files)
        self._log = RotatingFile(folder / LOG_FILE, max_bytes, files)
        self._losses = Losses(clock)

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._losses.count

    def check(self) -> None:
        """See that the folder can be written, making what is missing. Raises ConfigError."""
        try:
            for file in (self._client, self._server, self._log):
                file.check()
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise ConfigError([f"the log folder {self._folder} can't be written: {_reason(error)}"]) from None

    def write(self, client: Json, servers: Sequence[Json]) -> None:
        """Append an exchange: a line for each request sent upstream, then the client's, so that who sees it there
        finds the others."""
        for server in servers:
            self._append(self._server, line_of(server))
        self._append(self._client, line_of(client))

    def log(self, text: str) -> None:
        """Append a text to the log."""
        self._append(self._log, f"{text.rstrip()}\n".encode("utf-8", "backslashreplace"))

    def _append(self, file: RotatingFile, line: bytes) -> None:
        try:
            file.append(line)
        except OSError as error:
            self._losses.add(_reason(error))
        else:
            self._losses.tell()


class Losses:
    """Counts lines that could not be written, and warns of them now and then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.count = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._told, self._told_at = 0, -math.inf
        self._reason = ""

    def add(self, reason: str) -> None:
        """Count a line."""
        with self._lock:
            self.count += 1
            self._reason = reason
        self.tell()

    def tell(self) -> None:
        """Warn of what nobody was warned of, unless a warning was given just now."""
        if self.count == self._told:
            return
        with self._lock:
            now = self._clock()
            untold = self.count - self._told
            if not untold or now - self._told_at < BETWEEN_WARNINGS_S:
                return
            self._told, self._told_at = self.count, now
        # Without the lock: the warning may be on its way into this journal's own log.
        logger.warning("journal: %d lines could not be written: %s", untold, self._reason)


def line_of(document: Json) -> bytes:
    """Write a document as one line of strict JSON; a value that has no JSON text is told as an error in its place."""
    try:
        return _line(document)
    except _UNWRITABLE:
        return _line({str(key): _writable(value) for key, value in document.items()})


def _line(document: Json) -> bytes:
    text = dumps(document)
    if b"NaN" in text or b"Infinity" in text:
        text = dumps(_finite(document))
    return text + b"\n"


def _writable(value: Any) -> Any:
    try:
        _line(value)
    except _UNWRITABLE as error:
        return {"error": {"message": f"This has no JSON text: {error}"}}
    return value


def _finite(value: Any) -> Any:
    """Spell out numbers that JSON has no words for, though some upstreams send them."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


class JournalHandler(logging.Handler):
    """Has what is logged stand in the journal's log too."""

    def __init__(self, journal: JournalFiles) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.log(self.format(record))
