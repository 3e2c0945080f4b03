"""The journal's files: a line for each request and each attempt upstream, and a log, in a folder of rotating files.

Writing never fails a request: it happens after the response was sent, and a line that can't be written is counted and
warned of once a minute at most.
"""

from __future__ import annotations

import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from argoproxy.config.config import Config
from argoproxy.config.values.config_error import ConfigError
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.prices.money import to_number
from argoproxy.protocol.stream.sse import encode_json
from argoproxy.telemetry.journal.record import Attempt, JournalRecord
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.rotating_file import RotatingFile

logger = logging.getLogger("argoproxy")

CLIENT_FILE, SERVER_FILE, LOG_FILE = "client_interaction.jsonl", "server_interaction.jsonl", "log.log"
WARNING_INTERVAL_S = 60.0
#: The value of `journal_bodies` that writes sizes in place of bodies.
META = "meta"
#: What encoding JSON raises: JsonError is a ValueError.
_UNWRITABLE = (TypeError, ValueError, RecursionError)


def check_journal(config: Config) -> None:
    """Check that the journal's folder can be written, if one is configured. Raises ConfigError."""
    if journal := config.journal:
        JournalFiles(journal.folder, journal.max_bytes, journal.files).check()


class JournalWriter:
    """Writes a line with what a client asked and was answered, and a line for each request sent upstream for it."""

    def __init__(self, files: JournalFiles, bodies: str, masker: Masker) -> None:
        """`bodies` is `full`, or `meta` for sizes in place of bodies; `masker` stars secrets."""
        self._files = files
        self._bodies = bodies
        self.is_brief = bodies == META
        self._masker = masker

    def write(self, record: JournalRecord, outcome: Outcome) -> None:
        """Write the lines of a request that has ended."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        output = record.output or {"bytes": outcome.bytes_sent}
        client = self._line(now, outcome, self._mask_bodies(record.input, output, record.keys))
        if outcome.upstream_model:
            client["upstream_model"] = outcome.upstream_model
        if outcome.cost_nanos is not None or outcome.unpriced:
            client["cost"] = None if outcome.cost_nanos is None else to_number(outcome.cost_nanos)
        if outcome.cache:
            client["cache"] = outcome.cache
        servers = [self._server_line(now, outcome, attempt, record.keys) for attempt in record.attempts]
        self._files.write(client, servers)

    def _server_line(self, now: str, outcome: Outcome, attempt: Attempt, keys: Sequence[str]) -> Json:
        line = self._line(now, outcome, self._mask_bodies(attempt.input, attempt.output, keys))
        own: Json = {
            "send_mode": attempt.send_mode,
            "model": attempt.model or outcome.model,
            "upstream": attempt.upstream,
            "status": attempt.status,
            "attempt_ms": _ms((attempt.failed_s or outcome.total_s) - attempt.sent_s),
            **({"failure": attempt.failure} if attempt.error else {}),
        }
        return {**line, **own, "ending": str(attempt.ending(outcome.ending)), "method": attempt.request.method}

    def _line(self, now: str, outcome: Outcome, bodies: Json) -> Json:
        return {
            "timestamp": now,
            "logging_id": outcome.id,
            "input": bodies["input"],
            "output": bodies["output"],
            "send_mode": outcome.send_mode,
            "return_mode": outcome.return_mode,
            "ending": str(outcome.ending),
            "model": outcome.model,
            "upstream": outcome.upstream,
            "client_request_id": outcome.client_request_id,
            "method": outcome.method,
            "path": outcome.path,
            "status": outcome.status,
            "key": outcome.key,
            "first_byte_ms": _ms(outcome.first_byte_s),
            "total_ms": _ms(outcome.total_s),
            **{name: value for name, value in bodies.items() if name == "usage"},
        }

    def _mask_bodies(self, request: Json | None, response: Json | None, keys: Sequence[str]) -> Json:
        """Return what a line says of bodies: themselves with secrets starred, or their sizes and the usage."""
        if self._bodies != META:
            return {"input": self._masker.mask_body(request, keys), "output": self._masker.mask_body(response, keys)}
        usage = (response or {}).get("usage")
        usage_field = {"usage": usage} if isinstance(usage, dict) else {}
        return {"input": _size_only(request), "output": _size_only(response), **usage_field}


class JournalFiles:
    """The three files, which all workers append to. Each worker creates its own JournalFiles after the fork."""

    def __init__(self, folder: Path, max_bytes: int, files: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_bytes` is the size at which a file is rotated, `files` how many older ones are kept beside it."""
        self._folder = folder
        self._client = RotatingFile(folder / CLIENT_FILE, max_bytes, files)
        self._server = RotatingFile(folder / SERVER_FILE, max_bytes, files)
        self._log = RotatingFile(folder / LOG_FILE, max_bytes, files)
        self._lost_lines = LostLines(clock)

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._lost_lines.count

    def check(self) -> None:
        """Check that the folder can be written, and create what is missing. Raises ConfigError."""
        try:
            for file in (self._client, self._server, self._log):
                file.check()
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise ConfigError([f"the log folder {self._folder} can't be written: {_reason(error)}"]) from None

    def write(self, client: Json, servers: Sequence[Json]) -> None:
        """Append the lines of a request; the client's comes last, so that a reader who sees it finds the others."""
        for server in servers:
            self._append(self._server, encode_line(server))
        self._append(self._client, encode_line(client))

    def log(self, text: str) -> None:
        """Append a text to the log."""
        self._append(self._log, f"{text.rstrip()}\n".encode("utf-8", "backslashreplace"))

    def _append(self, file: RotatingFile, line: bytes) -> None:
        try:
            file.append(line)
        except OSError as error:
            self._lost_lines.add(_reason(error))
        else:
            self._lost_lines.warn()


class LostLines:
    """Counts lines that could not be written, and warns of them once a minute at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.count = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._count_warned, self._warned_at = 0, -math.inf
        self._reason = ""

    def add(self, reason: str) -> None:
        """Count a line."""
        with self._lock:
            self.count += 1
            self._reason = reason
        self.warn()

    def warn(self) -> None:
        """Log how many lines were lost since the last warning, unless that was less than a minute ago."""
        if self.count == self._count_warned:
            return
        with self._lock:
            now = self._clock()
            lost = self.count - self._count_warned
            if not lost or now - self._warned_at < WARNING_INTERVAL_S:
                return
            self._count_warned, self._warned_at = self.count, now
        # Without the lock: a JournalHandler may write the warning into this very journal, and lose that line too.
        logger.warning("code=journal_lines_lost: %d lines of the journal could not be written: %s", lost, self._reason)


class JournalHandler(logging.Handler):
    """Writes log records to the journal's log, too."""

    def __init__(self, files: JournalFiles) -> None:
        super().__init__()
        self._files = files

    def emit(self, record: logging.LogRecord) -> None:
        self._files.log(self.format(record))


def encode_line(document: Json) -> bytes:
    """Encode a document as one line of strict JSON. A field that has no JSON text is replaced by an error."""
    try:
        return _encode(document)
    except _UNWRITABLE:
        return _encode({str(key): _encodable(value) for key, value in document.items()})


def _encode(document: Json) -> bytes:
    text = dumps(document)
    # Some upstreams send NaN and Infinity, which Python reads and writes but other JSON parsers refuse.
    if b"NaN" in text or b"Infinity" in text:
        text = dumps(_spell_out(document))
    return text + b"\n"


def _encodable(value: Any) -> Any:
    try:
        _encode(value)
    except _UNWRITABLE as error:
        return {"error": {"message": f"This value has no JSON text: {error}"}}
    return value


def _spell_out(value: Any) -> Any:
    """Return a JSON value with the numbers that JSON does not have as strings."""
    if isinstance(value, dict):
        return {key: _spell_out(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spell_out(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _size_only(body: Json | None) -> Json | None:
    if body is None:
        return None
    size = body.get("bytes")
    is_size_already = isinstance(size, int) and body.keys() <= {"bytes", "usage"}
    return {"bytes": size if is_size_already else len(encode_json(body))}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
