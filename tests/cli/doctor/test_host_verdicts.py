from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.cli.doctor.judge.findings import HERE, Finding, Status, run_checks
from argoproxy.cli.doctor.judge.host_verdicts import HOST_CHECKS
from argoproxy.cli.doctor.judge.observations import HostFacts

SOUND = HostFacts(
    sources=("config.yaml (3 settings)",),
    upstreams="http://gpu:8000",
    host="127.0.0.1",
    port=5000,
    files=20_000,
    files_wanted=3072,
    memory_mib=4000.0,
    memory_wanted_mib=140.0,
    shared_mib=64.0,
)


def judge(**fields: Any) -> dict[str, Finding]:
    return {finding.code: finding for finding in run_checks(HOST_CHECKS, replace(SOUND, **fields), HERE)}


def test_a_sound_machine() -> None:
    found = judge()
    assert {finding.status for finding in found.values()} == {Status.OK}
    assert "config.yaml (3 settings); in front of http://gpu:8000" in found["config.origin"].text


def test_settings_with_mistakes_leave_nothing_to_check() -> None:
    found = judge(mistakes=("config.yaml, line 2: unknown key", "another"))
    assert found["config.read"].status is Status.FAIL
    assert "line 2: unknown key (and 1 more)" in found["config.read"].text
    assert {finding.status for code, finding in found.items() if code != "config.read"} == {Status.SKIPPED}


@pytest.mark.parametrize(
    ("code", "fields", "text", "fix"),
    [
        ("config.warnings", {"warnings": ("a is not used", "b")}, "a is not used (and 1 more)", "remove"),
        ("env.proxies", {"proxied": {"gpu": "http://proxy:3128"}}, "reached through the HTTP proxy", "NO_PROXY="),
        ("exposed", {"is_open": True, "host": "0.0.0.0"}, "0.0.0.0:5000 without keys", "HOST=127.0.0.1"),
        ("exposed", {"is_open": True, "keyed": ["gpu"]}, "the API key of gpu", "ENABLE_AUTH=true"),
        ("limit.files", {"files": 1024}, "may open 1024 files; THREADS wants 3072", "ulimit -Hn 3072"),
        ("limit.memory", {"memory_mib": 100.0}, "100 MiB of memory are free", "WORKERS"),
        ("shm.room", {"shared_mib": 1.0}, "1 MiB left", "--shm-size"),
        (
            "journal.room",
            {"journal": "/j", "journal_mib": 5.0, "journal_wanted_mib": 500.0},
            "5 MiB left; it may grow to 500",
            "JOURNAL_MAX_BYTES",
        ),
        ("stop.grace", {"is_in_kubernetes": True, "graceful_s": 30.0}, "DRAIN_DELAY is 0", "DRAIN_DELAY=10"),
        ("clock", {"skews_s": {"gpu": 7200.0}}, "2 hours behind the clock of gpu", "timedatectl"),
        ("clock", {"skews_s": {"gpu": -90.0}}, "90 seconds ahead of the clock of gpu", "timedatectl"),
    ],
)
def test_what_is_warned_of(code: str, fields: dict[str, Any], text: str, fix: str) -> None:
    finding = judge(**fields)[code]
    assert finding.status is Status.WARN
    assert text in finding.text
    assert fix in finding.fix


def test_a_port_that_another_program_has() -> None:
    finding = judge(holder="port 5000 is taken by 'python' (process 7) (Address in use); --port 5001 takes a free one")
    assert finding["port.free"].status is Status.FAIL
    assert finding["port.free"].text == "port 5000 is taken by 'python' (process 7) (Address in use)"
    assert finding["port.free"].fix == "--port 5001 takes a free one"


def test_a_port_that_the_own_proxy_has() -> None:
    assert "served by this user's proxy (process 7)" in judge(own_pid=7)["port.free"].text


def test_a_journal_that_cannot_be_written() -> None:
    finding = judge(journal="/j", journal_problem="/j can't be written")["journal.room"]
    assert (finding.status, finding.text) == (Status.FAIL, "/j can't be written")


def test_a_journal_with_room() -> None:
    assert judge(journal="/j", journal_mib=900.0, journal_wanted_mib=500.0)["journal.room"].status is Status.OK


@pytest.mark.parametrize("is_in_kubernetes", [False, True])
def test_a_stop_takes_the_delay_and_the_time_for_requests(is_in_kubernetes: bool) -> None:
    found = judge(drain_s=10.0, graceful_s=300.5, is_in_kubernetes=is_in_kubernetes)["stop.grace"]
    assert (found.status, found.evidence["needed_s"]) == (Status.OK, 316)
    assert ("terminationGracePeriodSeconds: 316" in found.text) is is_in_kubernetes


def test_clocks_that_agree() -> None:
    assert judge(skews_s={"gpu": 1.0})["clock"].status is Status.OK


def test_what_is_not_known_is_not_judged() -> None:
    assert "limit.memory" not in judge(memory_mib=None)
