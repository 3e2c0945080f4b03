"""Requests that have ended, as their lines in the log tell."""

from __future__ import annotations

import io
from pathlib import Path

from argoproxy.config.derived import JournalSettings
from argoproxy.console.live.logged_requests import LoggedRequests, read_requests
from argoproxy.console.views.log_view import parse_lines
from argoproxy.errors import Ending
from argoproxy.telemetry.journal.writer import LOG_FILE
from argoproxy.telemetry.json_lines import JsonAccessLog
from argoproxy.telemetry.log_lines import AccessLog
from tests.support.outcomes import outcome

OUTCOME = outcome(id="ab12", model='odd "name" m=1', key="ann", ending=Ending.UPSTREAM_ERROR, status=502)


def test_lines_of_text_and_of_json_tell_the_same() -> None:
    text, as_json = io.BytesIO(), io.BytesIO()
    AccessLog(text.write)(OUTCOME)
    JsonAccessLog(as_json.write)(OUTCOME)
    for written in (text, as_json):
        (found,) = read_requests(parse_lines(written.getvalue().decode().splitlines()))
        assert (found.id, found.model, found.key, found.ending) == ("ab12", 'odd "name" m=1', "ann", "upstream_error")
        assert (found.status, found.first_byte_ms, found.total_ms, found.has_failed) == (502, 300.0, 2300.0, True)


def test_what_is_no_request_is_left_out() -> None:
    lines = [
        "2026-11-23T12:00:01.000 WARNING code=x a request",
        "odd request id=1",
        "2026-99-99T12:00:00Z request id=1",
    ]
    assert list(read_requests(parse_lines(lines))) == []
    (found,) = read_requests(parse_lines(['2026-11-23T12:00:00Z request id=1 model="a\\" status=x first_byte_ms=x']))
    assert (found.status, found.first_byte_ms, found.total_ms) == (0, None, 0.0)


def test_each_request_is_told_once(tmp_path: Path) -> None:
    journal, requests = JournalSettings(tmp_path, "full", 10**6, 1), LoggedRequests()
    with (tmp_path / LOG_FILE).open("wb", buffering=0) as file:
        log = AccessLog(file.write)
        log(OUTCOME)
        assert [one.id for one in requests.read_new(journal)] == ["ab12"]
        assert requests.read_new(journal) == []
        log(outcome(id="cd34"))
        assert [one.id for one in requests.read_new(journal)] == ["cd34"]
    assert requests.read_new(None) == []
