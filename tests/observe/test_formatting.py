from __future__ import annotations

import io
import logging
import re

import pytest

from argoproxy.telemetry.log_format import PrintableFormatter

FORGED = "2026-11-22T00:00:00.000Z request id=FAKE status=200"
NASTY = f"a\x1b[2J\x9b31m\u202e\n{FORGED}\r\u2028{FORGED}\x0b{FORGED}"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(out: io.StringIO) -> logging.Logger:
    handler = logging.StreamHandler(out)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    found = logging.Logger("test")
    found.addHandler(handler)
    return found


def test_a_message_is_one_line(logger: logging.Logger, out: io.StringIO) -> None:
    logger.warning("model=%s", NASTY)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue()[:-1].isprintable()


def test_the_text_of_an_exception_looks_like_no_record(logger: logging.Logger, out: io.StringIO) -> None:
    logger.error("failed", exc_info=ValueError(NASTY))
    logger.error("stack", stack_info=True)
    first, *rest = out.getvalue().splitlines()
    assert first == "ERROR failed"
    for line in rest:
        assert line.isprintable()
        assert line.startswith("  ") or re.fullmatch("ERROR stack", line), line
