"""How log records become text: safe to read in a terminal, and no record can look like another one."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any

from gunicorn.glogging import Logger

from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.access.printable import printable, printable_lines

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class PrintableFormatter(logging.Formatter):
    """Writes a record in one line. What follows it, a traceback, is indented: an exception's text holds whatever an
    upstream or a client sent, also line breaks and what looks like a record. Secrets that the masker knows are
    starred."""

    def __init__(self, fmt: str, datefmt: str | None = None, masker: Masker | None = None) -> None:
        super().__init__(fmt, datefmt)
        self._masker = masker or Masker()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging calls it so
        return printable(self._masker.name((), super().formatMessage(record)))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 logging calls it so
        return _indented(self._masker.name((), super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 logging calls it so
        return _indented(super().formatStack(stack_info))


class PrintableLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger, whose records hold targets and errors of requests."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(PrintableFormatter(self.error_fmt, self.datefmt))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in printable_lines(text).split("\n"))
