"""The end of the log, and what came since."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.config.derived import JournalSettings
from argoproxy.console.views.log_view import MOST_BYTES, MOST_LINES, parse_lines, read_log
from argoproxy.telemetry.journal.writer import LOG_FILE
from argoproxy.telemetry.rotating_file import RotatingFile

REQUEST = "2026-11-23T12:00:00.123Z request id=ab12 status=200 ending=complete"
WARNING = "2026-11-23T12:00:01.000 WARNING code=circuit_opened upstream=vllm model=* reason=connect"


@pytest.fixture
def journal(tmp_path: Path) -> JournalSettings:
    return JournalSettings(tmp_path, "full", 400, 3)


def append(journal: JournalSettings, *lines: str, end: str = "\n") -> None:
    file = RotatingFile(journal.folder / LOG_FILE, journal.max_bytes, journal.files)
    for line in lines:
        file.append(f"{line}{end}".encode())


def test_lines_have_their_fields() -> None:
    lines = parse_lines([REQUEST, WARNING, "  Traceback", "    more", "odd"])
    assert [(line["level"], line["code"], line["id"]) for line in lines] == [
        ("INFO", "", "ab12"),
        ("WARNING", "circuit_opened", ""),
        ("", "", ""),
    ]
    assert lines[0]["at"] == "2026-11-23T12:00:00.123Z"
    assert lines[1]["text"].endswith("\n  Traceback\n    more")


def test_lines_of_json_have_the_same() -> None:
    request = '{"time":"2026-11-23T12:00:01.000Z","level":"info","message":"request","id":"ab","status":200}'
    warning = '{"time":"x","level":"warning","code":"lost","message":"3 lines","exception":"Traceback"}'
    assert parse_lines([request, warning, "{broken"]) == [
        {"at": "2026-11-23T12:00:01.000Z", "level": "INFO", "code": "", "id": "ab", "text": "request id=ab status=200"},
        {"at": "x", "level": "WARNING", "code": "lost", "id": "", "text": "3 lines\nTraceback"},
        {"at": "", "level": "", "code": "", "id": "", "text": "{broken"},
    ]


def test_a_cursor_gets_what_came_since(journal: JournalSettings) -> None:
    append(journal, "one", "two")
    first = read_log(journal, "")
    assert [line["text"] for line in first["lines"]] == ["one", "two"]
    assert read_log(journal, first["cursor"])["lines"] == []
    append(journal, "three")
    append(journal, "half", end="")
    second = read_log(journal, first["cursor"])
    assert [line["text"] for line in second["lines"]] == ["three"]
    with (journal.folder / LOG_FILE).open("a") as file:
        file.write(" a line\n")
    assert [line["text"] for line in read_log(journal, second["cursor"])["lines"]] == ["half a line"]


def test_nothing_is_missed_when_the_file_is_rotated_once(journal: JournalSettings) -> None:
    append(journal, "a" * 200)
    cursor = read_log(journal, "")["cursor"]
    append(journal, "b" * 150, "c" * 200)
    view = read_log(journal, cursor)
    assert ([line["text"][0] for line in view["lines"]], view["is_gap"]) == (["b", "c"], False)
    append(journal, "d" * 390, "e" * 390)
    assert read_log(journal, cursor)["is_gap"]


@pytest.mark.parametrize("cursor", ["x", "1", "1:x", ":", "²:1", "9" * 40 + ":1"])
def test_a_cursor_that_is_none_gets_the_end(journal: JournalSettings, cursor: str) -> None:
    append(journal, "one")
    assert [line["text"] for line in read_log(journal, cursor)["lines"]] == ["one"]


def test_of_much_only_the_end_is_read(tmp_path: Path) -> None:
    journal = JournalSettings(tmp_path, "full", 10**9, 1)
    (tmp_path / LOG_FILE).write_text("".join(f"{number:09}\n" for number in range(MOST_BYTES // 5)))
    view = read_log(journal, "")
    assert (len(view["lines"]), view["is_gap"]) == (MOST_LINES, False)
    inode = view["cursor"].partition(":")[0]
    assert read_log(journal, f"{inode}:0")["is_gap"]


def test_the_reason_is_told_where_there_is_no_log(journal: JournalSettings) -> None:
    assert "output_path" in read_log(None, "")["reason"]
    assert read_log(journal, "")["reason"]
