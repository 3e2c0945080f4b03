from __future__ import annotations

import json
import logging
from typing import Any

from argoproxy.errors import Ending
from argoproxy.protocol.access.masking import Masker
from argoproxy.telemetry.json_lines import JsonAccessLog, JsonFormatter
from argoproxy.telemetry.outcome import AttemptSummary, Outcome

NASTY = 'a\n\x1b[2J "b"\u202e\ud800'


def line(**changed: Any) -> bytes:
    fields: dict[str, Any] = dict.fromkeys(Outcome.__slots__)
    fields |= {"id": "i", "client_request_id": "", "method": "GET", "route": "/x", "path": "/x", "model": ""}
    fields |= {"upstream": "u", "status": 200, "ending": Ending.COMPLETE, "total_s": 0.0123, "bytes_sent": 0, **changed}
    written: list[bytes] = []
    JsonAccessLog(written.append)(Outcome(**fields))
    (text,) = written
    return text


def test_a_request_is_an_object_with_what_is_known() -> None:
    found = json.loads(line(first_byte_s=0.5, attempts=(AttemptSummary("u", "", 0.01),), cost_nanos=1_500_000_000))
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "info",
        "message": "request",
        "id": "i",
        "method": "GET",
        "route": "/x",
        "path": "/x",
        "upstream": "u",
        "status": 200,
        "ending": "complete",
        "total_ms": 12.3,
        "bytes_sent": 0,
        "first_byte_ms": 500.0,
        "attempts": ["u:ok:10ms"],
        "cost": "1.5",
    }


def test_no_value_of_a_client_breaks_a_line() -> None:
    text = line(model=NASTY * 100, trace_id="ab")
    assert text.isascii()
    assert text.count(b"\n") == 1
    assert b"\x1b" not in text
    found = json.loads(text)
    assert (NASTY * 100).startswith(found["model"])
    assert found["trace_id"] == "ab"


def record(message: str, *arguments: object, **more: Any) -> dict[str, Any]:
    made = logging.LogRecord("argoproxy", logging.WARNING, "", 0, message, arguments, more.get("exc_info"))
    text = JsonFormatter(Masker(["sk-secret-0123456789"])).format(made)
    assert "\n" not in text
    assert "sk-secret" not in text
    found: dict[str, Any] = json.loads(text)
    assert found.pop("time").endswith("Z")
    return found


def test_records_are_objects_with_their_code() -> None:
    found = record("code=circuit_opened upstream=%s", "u")
    assert found == {"level": "warning", "code": "circuit_opened", "message": "upstream=u"}
    assert record("key %s", "sk-secret-0123456789")["message"].startswith("key ")
    assert record("plain") == {"level": "warning", "message": "plain"}


def test_a_traceback_stands_in_the_same_line() -> None:
    error = ValueError(NASTY)
    assert "ValueError" in record("failed", exc_info=(ValueError, error, None))["exception"]
