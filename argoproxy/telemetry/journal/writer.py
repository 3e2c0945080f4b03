"""From what is remembered of a request to the lines of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from argoproxy.config.config import Config
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import encode_json
from argoproxy.telemetry.journal.files import JournalFiles
from argoproxy.telemetry.journal.record import Attempt, JournalRecord
from argoproxy.telemetry.outcome import Outcome

META = "meta"


def check_journal(config: Config) -> None:
    """See that the journal's folder can be written, where there is one. Raises ConfigError."""
    if journal := config.journal:
        JournalFiles(journal.folder, journal.max_bytes, journal.files).check()


class JournalWriter:
    """Writes a line of what a client asked and was told, and one for each request that was sent upstream for it."""

    def __init__(self, journal: JournalFiles, bodies: str, masker: Masker) -> None:
        """`bodies` is `full`, or `meta` for sizes in place of bodies; `masker` stars secrets."""
        self._journal = journal
        self._bodies = bodies
        self.is_brief = bodies == META
        self._masker = masker

    def tell(self, record: JournalRecord, outcome: Outcome) -> None:
        """Write down what became of a request."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        output = record.output or {"bytes": outcome.bytes_sent}
        client = self._line(now, outcome, self._bodies_of(record.input, output, record.keys))
        if outcome.upstream_model:
            client["upstream_model"] = outcome.upstream_model
        servers = [self._server_line(now, outcome, attempt, record.keys) for attempt in record.attempts]
        self._journal.write(client, servers)

    def _server_line(self, now: str, outcome: Outcome, attempt: Attempt, keys: Sequence[str]) -> Json:
        line = self._line(now, outcome, self._bodies_of(attempt.input, attempt.output, keys))
        own: Json = {
            "send_mode": attempt.send_mode,
            "model": attempt.model or outcome.model,
            "upstream": attempt.upstream,
            "status": attempt.status,
        }
        return {**line, **own, "ending": str(attempt.ending(outcome.ending)), "method": attempt.asked.method}

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

    def _bodies_of(self, asked: Json | None, told: Json | None, keys: Sequence[str]) -> Json:
        """Give what a line says of bodies: themselves, or their sizes and what was used."""
        if self._bodies != META:
            return {"input": self._masker.body(asked, keys), "output": self._masker.body(told, keys)}
        usage = (told or {}).get("usage")
        used = {"usage": usage} if isinstance(usage, dict) else {}
        return {"input": _sized(asked), "output": _sized(told), **used}


def _sized(body: Json | None) -> Json | None:
    if body is None:
        return None
    size = body.get("bytes")
    is_a_size = isinstance(size, int) and body.keys() <= {"bytes", "usage"}
    return {"bytes": size if is_a_size else len(encode_json(body))}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)
