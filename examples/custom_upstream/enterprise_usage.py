"""A log of who used what: a line of JSON for each request, in one file for all workers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from argoproxy.api import Json, Outcome, dumps


class UsageLog:
    """What `listeners: [{class: enterprise_usage:UsageLog}]` names; told of each request when it is over."""

    def __init__(self, *, file: str) -> None:
        """A relative path begins where the proxy was started. Raises ValueError: the file can't be written."""
        self._file = Path(file)
        try:
            self._append(b"")
        except OSError as error:
            raise ValueError(f"`file` can't be written: {error.strerror}") from None

    def __call__(self, outcome: Outcome) -> None:
        """Append one line, opened anew so that the file may be moved away."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(dumps({"time": now, **line_of(outcome)}) + b"\n")

    def _append(self, line: bytes) -> None:
        """Write at the end of the file, at once: workers never write into each other's lines."""
        with self._file.open("ab", buffering=0) as file:
            file.write(line)


def line_of(outcome: Outcome) -> Json:
    """Give what is kept of an outcome; null where the upstream did not count tokens."""
    return {
        "id": outcome.id,
        "caller": outcome.key,
        "model": outcome.model,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "ending": str(outcome.ending),
        "status": outcome.status,
        "seconds": round(outcome.total_s, 3),
    }
