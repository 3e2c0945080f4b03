"""The lines of the log as JSON objects, for programs that collect them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.prices.money import format_amount
from argoproxy.telemetry.outcome import Outcome

#: Characters of a value; clients choose names.
LONGEST_VALUE = 200
#: What a record of the proxy begins with: its code.
_CODE = re.compile(r"code=([a-z_]+)\b[: ]*")


class JsonAccessLog:
    """A listener that writes an object for each request, with the fields of the text's line by the same names: never a
    body, a key or a query."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` gets the line, in one call."""
        self._write = write

    def __call__(self, outcome: Outcome) -> None:
        fields = {"time": _time(datetime.now(UTC)), "level": "info", "message": "request"}
        for name in Outcome.__slots__:
            value = getattr(outcome, name)
            if value is not None and value not in ("", ()):
                fields |= _field(name, value)
        self._write(_line(fields))


class JsonFormatter(logging.Formatter):
    """Formats a record as one object, with secrets starred; `code` is its own field."""

    def __init__(self, masker: Masker | None = None) -> None:
        super().__init__()
        self._masker = masker or Masker()

    def format(self, record: logging.LogRecord) -> str:
        message = self._masker.mask_text((), record.getMessage())
        code = _CODE.match(message)
        fields: dict[str, Any] = {
            "time": _time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            **({"code": code[1]} if code else {}),
            "message": message[code.end() :] if code else message,
        }
        if record.exc_info:
            fields["exception"] = self._masker.mask_text((), self.formatException(record.exc_info))
        return _line(fields).decode().rstrip("\n")


class JsonLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger with a JsonFormatter."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


def _field(name: str, value: Any) -> dict[str, Any]:
    """Return a field of an outcome: seconds as milliseconds, billionths as an exact amount."""
    if name == "cost_nanos":
        return {"cost": format_amount(value)}
    if name.endswith("_s"):
        return {f"{name[:-2]}_ms": round(1000 * value, 1)}
    if isinstance(value, tuple):
        return {name: [str(one) for one in value]}
    return {name: value[:LONGEST_VALUE] if isinstance(value, str) else value}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(fields: dict[str, Any]) -> bytes:
    """Return an object in one line of ASCII: nothing in it can forge a line, or command a terminal."""
    return f"{json.dumps(fields, default=str)}\n".encode()
