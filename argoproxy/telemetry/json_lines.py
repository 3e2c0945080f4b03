"""The lines of the log as JSON objects, for programs that collect them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from gunicorn.glogging import Logger

from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.prices.money import format_amount
from argoproxy.telemetry.log_lines import IDS, OTHERS, RECURRING, read_ids, read_others, read_recurring
from argoproxy.telemetry.outcome import Outcome

#: Characters of a value; clients choose names.
LONGEST_VALUE = 200
#: What stands before a number of seconds.
_LABELS_OF_TIMES = {name: f'"{name[:-2]}_ms":' for name in Outcome.__slots__ if name.endswith("_s")}
#: What a record of the proxy begins with: its code.
_CODE = re.compile(r"code=([a-z_]+)\b[: ]*")


class JsonAccessLog:
    """A listener that writes an object for each request, with the fields of the text's line by the same names: never a
    body, a key or a query."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` gets the line, in one call."""
        self._write = write

    def __call__(self, outcome: Outcome) -> None:
        members = (
            f'"time":"{_time(datetime.now(UTC))}","level":"info","message":"request"',
            _members(IDS, read_ids(outcome)),
            _recurring_members(read_recurring(outcome)),
            _members(OTHERS, read_others(outcome)),
        )
        self._write(f"{{{','.join(filter(None, members))}}}\n".encode())


@lru_cache(maxsize=256)
def _recurring_members(values: tuple[Any, ...]) -> str:
    return _members(RECURRING, values)


def _members(names: Iterable[str], values: Iterable[Any]) -> str:
    """Return fields of an outcome as members of an object, in ASCII: seconds as milliseconds, billionths as an exact
    amount."""
    members = []
    for name, value in zip(names, values, strict=True):
        if not value and (value is None or isinstance(value, (str, tuple))):
            continue
        if isinstance(value, str):
            members.append(f'"{name}":{encode_basestring_ascii(value[:LONGEST_VALUE])}')
        elif label := _LABELS_OF_TIMES.get(name):
            members.append(f"{label}{1000 * value:.1f}")
        elif isinstance(value, tuple):
            members.append(f'"{name}":[{",".join([encode_basestring_ascii(str(one)) for one in value])}]')
        elif name == "cost_nanos":
            members.append(f'"cost":"{format_amount(value)}"')
        else:
            members.append(f'"{name}":{value}')
    return ",".join(members)


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


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(fields: dict[str, Any]) -> bytes:
    """Return an object in one line of ASCII: nothing in it can forge a line, or command a terminal."""
    return f"{json.dumps(fields, default=str)}\n".encode()
