"""The requests that have ended lately, from the lines of the log: fields alone, so a line costs microseconds."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from argoproxy.config.derived import JournalSettings
from argoproxy.console.views.log_view import parse_lines, read_tail
from argoproxy.console.views.recent_requests import RecentRequest
from argoproxy.console.views.view_shapes import LogLine

#: What is read of a log at the first look, and between two looks: some ten thousand requests.
MOST_BYTES = 4 * 1024 * 1024
_FIELD = re.compile(r'(?<!\w)(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


class LoggedRequests:
    """The requests of a log, each told once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._journal: JournalSettings | None = None
        self._cursor = ""

    def read_new(self, journal: JournalSettings | None) -> list[RecentRequest]:
        """Return those that were logged since the last call."""
        with self._lock:
            if journal != self._journal:
                self._journal, self._cursor = journal, ""
            tail = read_tail(journal, self._cursor, MOST_BYTES)
            self._cursor = tail.cursor
        lines = (line for line in tail.text.split("\n") if "request" in line)
        return list(read_requests(parse_lines(lines)))


def read_requests(lines: Iterable[LogLine]) -> Iterator[RecentRequest]:
    """Yield the requests among lines."""
    for line in lines:
        if line["id"]:
            fields = read_fields(line["text"])
            at = _read_time(line["at"])
            if at is not None:
                yield _make_request(line["id"], at, fields)


def read_fields(text: str) -> dict[str, str]:
    """Return the fields of a request's line."""
    return {name: _read_value(value) for name, value in _FIELD.findall(text)}


def _make_request(request_id: str, at: float, fields: Mapping[str, str]) -> RecentRequest:
    status = fields.get("status", "")
    return RecentRequest(
        at=at,
        id=request_id,
        model=fields.get("model", ""),
        upstream=fields.get("upstream", ""),
        key=fields.get("key", ""),
        ending=fields.get("ending", ""),
        status=int(status) if status.isdecimal() else 0,
        first_byte_ms=_read_number(fields.get("first_byte_ms", "")),
        total_ms=_read_number(fields.get("total_ms", "")) or 0.0,
        code=fields.get("code", ""),
        prompt_tokens=_read_count(fields.get("prompt_tokens", "")),
        completion_tokens=_read_count(fields.get("completion_tokens", "")),
    )


def _read_value(text: str) -> str:
    """Return a value as it was before it was quoted."""
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _read_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _read_count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _read_time(text: str) -> float | None:
    """Return a moment in seconds since 1970; one without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
