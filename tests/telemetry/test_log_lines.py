"""The lines of the log: one for each request, and what is logged besides."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from functools import partial
from typing import Any

import pytest

from argoproxy.errors import Ending
from argoproxy.telemetry.log_lines import AccessLog, PrintableFormatter
from argoproxy.telemetry.outcome import Outcome

FORGED = "2026-11-22T00:00:00.000Z request id=FAKE status=200"
NASTY = f"a\x1b[2J\x9b31m\u202e\n{FORGED}\r\u2028{FORGED}\x0b{FORGED}"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(out: io.StringIO) -> logging.Logger:
    handler = logging.StreamHandler(out)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger


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


def line(**changed: Any) -> str:
    fields: dict[str, Any] = dict.fromkeys(Outcome.__slots__)
    fields |= {"id": "i", "client_request_id": "", "method": "GET", "route": "/x", "path": "/x", "model": ""}
    fields |= {"upstream": "u", "status": 200, "ending": Ending.COMPLETE, "total_s": 0.0123, "bytes_sent": 0, **changed}
    read, write = os.pipe()
    AccessLog(partial(os.write, write))(Outcome(**fields))
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as lines:
        return lines.read()


def test_a_log_line_has_the_fields_that_are_known() -> None:
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z request "
        r"id=i method=GET route=/x upstream=u status=200 ending=complete total_ms=12\.3 bytes_sent=0\n"
    )
    assert re.fullmatch(pattern, line())


def test_a_log_line_can_not_be_broken_by_what_clients_send() -> None:
    odd = 'a b\n"c"\u2028\ud800 ' + "x" * 1000
    text = line(model=odd, client_request_id="r 1", path="/y", first_byte_s=1.0, prompt_tokens=7)
    assert text.count("\n") == 1
    assert text.isascii()
    assert f"model={json.dumps(odd[:200])}" in text
    assert 'client_request_id="r 1"' in text
    assert "route=/x path=/y" in text
    assert "first_byte_ms=1000.0" in text
    assert "prompt_tokens=7" in text


def test_a_log_line_has_the_name_of_a_key_and_the_time_that_was_ours() -> None:
    text = line(key="team a", overhead_s=0.0021, return_mode="stream")
    assert 'upstream=u key="team a" return_mode=stream status=200' in text
    assert "overhead_ms=2.1 " in text


def test_a_cost_is_exact_and_an_unknown_one_is_not_zero() -> None:
    assert " cost=0.0000028" in line(cost_nanos=2800)
    assert " cost=0 " in line(cost_nanos=0).replace("\n", " ")
    unknown = line(unpriced="model")
    assert " unpriced=model" in unknown
    assert "cost=" not in unknown
