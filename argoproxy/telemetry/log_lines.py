"""The lines of the log: one for each request, and what is logged besides. They are safe to read in a terminal, and no
value that a client or an upstream sent can forge a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from types import TracebackType
from typing import Any

from gunicorn.glogging import Logger

from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.access.printable import log_value, printable, printable_lines
from argoproxy.protocol.prices.money import format_amount
from argoproxy.telemetry.outcome import Outcome

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

#: The fields of an outcome whose values come again and again, together: they are formatted once.
_FIRST, _LAST = Outcome.__slots__.index("method"), Outcome.__slots__.index("code")
IDS, RECURRING, OTHERS = (
    Outcome.__slots__[:_FIRST],
    Outcome.__slots__[_FIRST : _LAST + 1],
    Outcome.__slots__[_LAST + 1 :],
)
read_ids, read_recurring, read_others = attrgetter(*IDS), attrgetter(*RECURRING), attrgetter(*OTHERS)
#: What stands before a number of seconds.
_LABELS_OF_TIMES = {name: f" {name[:-2]}_ms=" for name in Outcome.__slots__ if name.endswith("_s")}


class AccessLog:
    """A listener that writes a line for each request: fields only, never a body, a key or a query."""

    def __init__(self, *writes: Callable[[bytes], object]) -> None:
        """Each of `writes` gets the line, in one call."""
        self._writes = writes

    def __call__(self, outcome: Outcome) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        ids, others = _format(IDS, read_ids(outcome)), _format(OTHERS, read_others(outcome))
        line = f"{now}Z request{ids}{_format_recurring(read_recurring(outcome))}{others}\n".encode()
        for write in self._writes:
            write(line)


@lru_cache(maxsize=256)
def _format_recurring(values: tuple[Any, ...]) -> str:
    fields = dict(zip(RECURRING, values, strict=True))
    if fields["path"] == fields["route"]:
        del fields["path"]
    return _format(fields, fields.values())


def _format(names: Iterable[str], values: Iterable[Any]) -> str:
    """Return fields as ` name=value`, without those that are None or empty, and without a single attempt: the line says
    what became of it. Seconds become milliseconds, billionths an exact amount."""
    words = ""
    for name, value in zip(names, values, strict=True):
        if value is None or value == "" or (isinstance(value, tuple) and len(value) < 2):
            continue
        if isinstance(value, tuple):
            value = "+".join(map(str, value))
        if name == "cost_nanos":
            words += f" cost={format_amount(value)}"
        elif label := _LABELS_OF_TIMES.get(name):
            words += f"{label}{1000 * value:.1f}"
        else:
            words += f" {name}={value if isinstance(value, int) else log_value(value)}"
    return words


class PrintableFormatter(logging.Formatter):
    """Formats a record as one line, with secrets starred. A traceback follows indented, because the text of an
    exception holds whatever an upstream or a client sent: line breaks, too, and what looks like a record."""

    def __init__(self, fmt: str, datefmt: str | None = None, masker: Masker | None = None) -> None:
        super().__init__(fmt, datefmt)
        self._masker = masker or Masker()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 the name is logging's
        return printable(self._masker.mask_text((), super().formatMessage(record)))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 the name is logging's
        return _indent(self._masker.mask_text((), super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 the name is logging's
        return _indent(super().formatStack(stack_info))


class PrintableLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger with a PrintableFormatter: its records quote requests."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(PrintableFormatter(self.error_fmt, self.datefmt))


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in printable_lines(text).split("\n"))
