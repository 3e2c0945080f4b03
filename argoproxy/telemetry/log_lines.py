"""The lines of the log: one for each request, and what is logged besides. They are safe to read in a terminal, and no
value that a client or an upstream sent can forge a line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from gunicorn.glogging import Logger

from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.access.printable import log_value, printable, printable_lines
from argoproxy.telemetry.outcome import Outcome

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

#: The fields of an outcome with their names in a line: durations, in seconds, are logged in milliseconds.
_FIELDS = tuple((name, f"{name[:-2]}_ms" if name.endswith("_s") else name) for name in Outcome.__slots__)


class AccessLog:
    """A listener that writes a line for each request: fields only, never a body, a key or a query."""

    def __init__(self, *writes: Callable[[bytes], object]) -> None:
        """Each of `writes` gets the line, in one call."""
        self._writes = writes

    def __call__(self, outcome: Outcome) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        words = [f"{now}Z request"]
        for name, label in _FIELDS:
            value = getattr(outcome, name)
            if value is None or value == "" or (name == "path" and value == outcome.route):
                continue
            if label is not name:
                words.append(f"{label}={1000 * value:.1f}")
            else:
                words.append(f"{label}={value if isinstance(value, int) else log_value(value)}")
        line = f"{' '.join(words)}\n".encode()
        for write in self._writes:
            write(line)


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
