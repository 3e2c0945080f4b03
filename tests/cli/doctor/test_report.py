from __future__ import annotations

import json

import pytest

from argoproxy.cli.doctor.judge.findings import Finding, Status, skip
from argoproxy.cli.doctor.judge.guesses import likely_bases, pick_model
from argoproxy.cli.doctor.report import Report, first_line, show_json, show_text

CHAT = Finding("chat.whole", Status.OK, "m1 answers", subject="gpu")


def report(*findings: Finding) -> Report:
    return Report(findings, {"gpu": "http://gpu"}, "Linux", "1.0", 1400, 3)


def warning(subject: str, text: str) -> Finding:
    return Finding("thoughts", Status.WARN, text, "change it", subject=subject)


def test_all_is_well() -> None:
    assert first_line(report(CHAT)) == "All is well."


def test_where_thoughts_come_is_part_of_the_first_line() -> None:
    thoughts = Finding("thoughts", Status.INFO, "thoughts come in a field", subject="gpu")
    assert first_line(report(CHAT, thoughts)) == "All is well: thoughts come in a field."


def test_a_warning_of_this_machine_does_not_hide_that_chats_work() -> None:
    thoughts = Finding("thoughts", Status.INFO, "thoughts come in a field", subject="gpu")
    assert first_line(report(warning("here", "exposed"), CHAT, thoughts)) == (
        "Chats work: thoughts come in a field. 1 warning: exposed."
    )


def test_what_was_not_asked_is_said() -> None:
    assert "no model was asked (skipped: why)" in first_line(report(skip("chat.whole", "why")))


def test_failures_come_before_warnings_and_upstreams_before_this_machine() -> None:
    here, gpu = warning("here", "exposed"), warning("gpu", "odd thoughts")
    failure = Finding("tcp", Status.FAIL, "nothing listens", "start it", subject="gpu")
    assert first_line(report(here, gpu)) == "2 warnings, first: odd thoughts."
    assert first_line(report(here, gpu, failure)) == "1 problem: nothing listens."
    assert first_line(report(failure, failure)) == "2 problems, first: nothing listens."


def test_the_second_line_is_the_remedy() -> None:
    lines = list(show_text(report(warning("gpu", "odd thoughts"))))
    assert lines[1] == "  fix: change it"
    assert "gpu  http://gpu" in lines
    assert lines[-1] == "0 ok · 1 warning · 0 failed · 0 skipped · 1.4 s · 3 chat requests sent"


def test_what_was_skipped_for_the_same_reason_is_one_line() -> None:
    lines = list(show_text(report(CHAT, skip("tools", "because of x"), skip("clients", "because of x"))))
    assert "  -    tools, clients: skipped: because of x" in lines


def test_json_has_everything() -> None:
    document = json.loads(show_json(report(CHAT, warning("gpu", "odd thoughts"))))
    assert document["summary"] == {"ok": 1, "info": 0, "warn": 1, "fail": 0, "skipped": 0, "ms": 1400, "chats_sent": 3}
    assert document["first"] == "1 warning: odd thoughts."
    assert document["checks"][1] == {
        "code": "thoughts",
        "subject": "gpu",
        "status": "warn",
        "text": "odd thoughts",
        "fix": "change it",
        "evidence": {},
    }


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h/v1/v1", "http://h/v1"),
        ("http://h/v2", "http://h/v2/v1"),
        ("http://h/openai/v2", "http://h/openai/v2/v1"),
        ("http://h/docs/index", "http://h/v1"),
        ("http://h", "http://h/api/v1"),
    ],
)
def test_other_bases_that_may_be_meant(url: str, base: str) -> None:
    bases = likely_bases(url)
    assert base in bases
    assert url not in bases


@pytest.mark.parametrize(
    ("listed", "named", "sample", "picked"),
    [
        (["big", "gpt-4o-mini"], [], "", "gpt-4o-mini"),
        (["text-embedding-3", "big"], [], "", "big"),
        (["text-embedding-3"], [], "", ""),
        (["big", "mine"], ["mine"], "", "mine"),
        (["big"], ["gone"], "", "big"),
        ([], ["mine"], "", "mine"),
        (["big"], [], "sample", "sample"),
        ([], [], "", ""),
    ],
)
def test_the_model_that_is_asked(listed: list[str], named: list[str], sample: str, picked: str) -> None:
    assert pick_model(listed, named, sample) == picked
