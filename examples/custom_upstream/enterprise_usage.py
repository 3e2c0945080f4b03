"""A usage log: one line of JSON per request, in one file for all workers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from argoproxy.api import Json, Outcome, dumps


class UsageLog:
    """The class for `listeners: [{class: enterprise_usage:UsageLog}]`; called after each request."""

    def __init__(self, *, file: str) -> None:
        """A relative path is relative to the folder in which the proxy was started. Raises ValueError if the file
        can't be written."""
        self._file = Path(file)
        try:
            self._append(b"")
        except OSError as error:
            raise ValueError(f"`file` can't be written: {error.strerror}") from None

    def __call__(self, outcome: Outcome) -> None:
        """Append one line. The file is opened each time, so that it can be moved away."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(dumps({"time": now, **line_of(outcome)}) + b"\n")

    def _append(self, line: bytes) -> None:
        """Append in one unbuffered write, so that lines of different workers are never mixed."""
        with self._file.open("ab", buffering=0) as file:
            file.write(line)


def line_of(outcome: Outcome) -> Json:
    """Return the fields of a line; tokens are null if the upstream did not count them."""
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
