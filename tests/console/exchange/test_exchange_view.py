"""One request, both sides, as the journal has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from argoproxy.config.derived import JournalSettings
from argoproxy.console.exchange.exchange_shapes import ShownExchange
from argoproxy.console.exchange.exchange_view import MOST_RAW_BYTES, read_exchange
from argoproxy.protocol.reasoning.policy import ReasoningSettings
from argoproxy.telemetry.journal.writer import CLIENT_FILE, SERVER_FILE

ASKED = {"model": "fast", "messages": [{"role": "user", "content": "Hello!"}]}
CLIENT: dict[str, Any] = {
    "logging_id": "ab12",
    "input": ASKED,
    "output": {"choices": [{"message": {"role": "assistant", "content": "Hi."}}]},
    "model": "fast",
    "path": "/v1/chat/completions",
    "method": "POST",
    "return_mode": "non_stream",
    "first_byte_ms": 300.0,
    "total_ms": 1000.0,
}
SERVER: dict[str, Any] = {
    **CLIENT,
    "input": {**ASKED, "model": "qwen", "temperature": 0.5},
    "output": {"choices": [{"message": {"role": "assistant", "content": "<think>hm</think>Hi."}}]},
    "upstream": "vllm",
    "attempt_ms": 800.0,
}
FAILED = {**SERVER, "upstream": "spare", "failure": "connect", "attempt_ms": 100.0, "output": {"error": "No."}}


def read(
    folder: Path, clients: list[Any], servers: list[Any], request_id: str = "ab12", bodies: str = "full"
) -> ShownExchange:
    for name, lines in ((CLIENT_FILE, clients), (SERVER_FILE, servers)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = JournalSettings(folder, bodies, 10**6, 5)
    return read_exchange(journal, request_id, lambda model, path: ReasoningSettings(), 5000)


def test_both_sides_stand_beside_each_other(tmp_path: Path) -> None:
    found = read(tmp_path, [CLIENT], [FAILED, SERVER], "ab")
    assert found["client"]
    assert (found["id"], found["reason_code"]) == ("ab12", "")
    assert [part["text"] for part in found["client"]["turns"][0]["parts"]] == ["Hello!"]
    assert [(part["kind"], part["fate"]) for part in found["attempts"][1]["answer"][0]["parts"]] == [
        ("thought", "stripped"),
        ("text", ""),
    ]
    assert [change["path"] for change in found["attempts"][1]["changes"]] == ["model", "temperature"]
    assert found["attempts"][0]["error"] == "No."
    assert found["curl"].startswith("curl ")
    assert [(one["name"], one["ms"]) for one in found["phases"]] == [
        ("spare: connect", 100.0),
        ("first byte", 200.0),
        ("answer", 700.0),
    ]


def test_without_a_journal_the_reason_is_told() -> None:
    found = read_exchange(None, "ab12", lambda model, path: ReasoningSettings(), 5000)
    assert (found["reason_code"], found["client"], found["attempts"]) == ("journal", None, [])
    assert "output_path" in found["reason"]


def test_a_request_that_the_journal_does_not_hold(tmp_path: Path) -> None:
    assert read(tmp_path, [CLIENT], [], "ff")["reason_code"] == "gone"
    assert read(tmp_path, [CLIENT], [], "")["reason_code"] == "gone"


def test_an_id_that_several_begin_with(tmp_path: Path) -> None:
    found = read(tmp_path, [CLIENT, {**CLIENT, "logging_id": "ab34"}], [], "ab")
    assert (found["reason_code"], found["matches"]) == ("several", ["ab12", "ab34"])


def test_sizes_in_place_of_bodies(tmp_path: Path) -> None:
    sizes = {"input": {"bytes": 12}, "output": {"bytes": 34}}
    found = read(tmp_path, [{**CLIENT, **sizes}], [{**SERVER, **sizes}], bodies="meta")
    assert found["client"]
    assert (found["reason_code"], found["client"]["input_bytes"], found["client"]["output_bytes"]) == ("meta", 12, 34)
    assert (found["curl"], bool(found["curl_reason"])) == ("", True)
    assert read(tmp_path, [{**CLIENT, **sizes}], [])["reason_code"] == "size"


def test_a_body_that_is_too_large_is_not_shown_raw(tmp_path: Path) -> None:
    large = {"messages": [{"role": "user", "content": "x" * MOST_RAW_BYTES}]}
    found = read(tmp_path, [{**CLIENT, "input": large}], [])
    assert found["client"]
    assert (found["client"]["raw_input"], "request" in found["client"]["note"]) == (None, True)
    assert found["client"]["turns"]


def test_a_request_whose_own_line_was_lost(tmp_path: Path) -> None:
    found = read(tmp_path, [], [SERVER])
    assert (found["client"], len(found["attempts"]), found["curl"]) == (None, 1, "")


def test_a_request_that_failed_waited_for_no_first_byte(tmp_path: Path) -> None:
    assert [one["name"] for one in read(tmp_path, [CLIENT], [FAILED])["phases"]] == ["spare: connect", "answer"]
    assert [(one["name"], one["ms"]) for one in read(tmp_path, [CLIENT], [])["phases"]] == [("answer", 1000.0)]
