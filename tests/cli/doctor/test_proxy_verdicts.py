from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.cli.doctor.judge.findings import Finding, Status, run_checks
from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer, ProxyFacts
from argoproxy.cli.doctor.judge.proxy_verdicts import PROXY_CHECKS, RUNNING

URL = "http://127.0.0.1:5000"
LIVE = HttpAnswer(URL, 200, body='{"status": "alive", "version": "1.0"}')
LIST = HttpAnswer(f"{URL}/v1/models", 200, body='{"data": []}')
FLOWS = Chat(LIVE, is_stream=True, events=20, finish="stop", arrivals=tuple((0.1 * at, 9) for at in range(1, 21)))
HELD = replace(FLOWS, arrivals=((2.0, 2000),))
SOUND = ProxyFacts(
    URL, 7, LIVE, HttpAnswer(URL, 200), "1.0", (), True, models=LIST, chat=FLOWS, model="m1", direct=FLOWS
)


def judge(code: str, **fields: Any) -> Finding:
    facts = replace(SOUND, **fields)
    (found,) = [finding for finding in run_checks(PROXY_CHECKS, facts, RUNNING) if finding.code == code]
    return found


def test_a_sound_proxy() -> None:
    assert {finding.status for finding in run_checks(PROXY_CHECKS, SOUND, RUNNING)} == {Status.OK}


@pytest.mark.parametrize(
    ("code", "fields", "status", "text"),
    [
        ("proxy.running", {"live": HttpAnswer(URL, failure="x", reason="refused")}, Status.FAIL, "no proxy answers"),
        ("proxy.running", {"live": None, "is_asked": False}, Status.INFO, "no proxy answers"),
        ("proxy.running", {"live": HttpAnswer(URL, 404)}, Status.FAIL, "is not argoproxy (404"),
        ("proxy.version", {"version": "2.0"}, Status.WARN, "it runs version 1.0, and this is 2.0"),
        (
            "proxy.health",
            {"health": HttpAnswer(URL, 503, body='{"target": {"error": "connect_timeout"}}')},
            Status.WARN,
            "connect_timeout",
        ),
        ("proxy.settings", {"stale": ("port", "mode")}, Status.WARN, "port, mode"),
        ("through.models", {"models": HttpAnswer(URL, 401)}, Status.FAIL, "refuses the key (401)"),
        ("through.models", {"models": HttpAnswer(URL, 502)}, Status.WARN, "does not list models (502)"),
        ("through.stream", {"chat": None}, Status.SKIPPED, "no chat"),
        ("through.stream", {"chat": Chat(HttpAnswer(URL, 502), problem="down")}, Status.FAIL, "502: down"),
        ("through.flows", {"chat": HELD}, Status.WARN, "between the proxy and its clients"),
        ("through.flows", {"chat": HELD, "direct": HELD}, Status.INFO, "before it reaches the proxy"),
        ("through.flows", {"chat": replace(FLOWS, events=2)}, Status.OK, "too short"),
    ],
)
def test_what_is_wrong(code: str, fields: dict[str, Any], status: Status, text: str) -> None:
    found = judge(code, **fields)
    assert found.status is status
    assert text in found.text
