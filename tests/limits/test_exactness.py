"""Limits of a minute in four workers, under clients that do not wait: exact in every interval."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.limits.limited import Limited, StartLimited
from tests.limits.metered import document
from tests.support.client import Answer
from tests.support.storm import IS_FULL, assert_never_above, assert_nothing_lost, assert_right_retry_after, storm

LIMIT = 100
CLIENTS = 64 if IS_FULL else 24
STORM_S = 300.0 if IS_FULL else 1.0
pytestmark = pytest.mark.timeout(STORM_S + 300)


def check(ask: Callable[[], Answer], param: str, seconds: float = STORM_S) -> None:
    """Storm a limit of requests a minute, and check what was let through."""
    calls = [call for call in storm(CLIENTS, seconds, ask) if not call.is_undecided]
    assert {call.status for call in calls} == {200, 429}
    assert {call.answer.error["param"] for call in calls if call.answer} == {param}
    assert {call.answer.error["code"] for call in calls if call.answer} == {"rate_limit_exceeded"}
    assert_never_above(calls, LIMIT, LIMIT)
    assert_nothing_lost(calls, LIMIT, LIMIT)
    assert_right_retry_after(calls, LIMIT)


def test_limit_times_workers(limited: Limited, name: str) -> None:
    """A limit of a hundred requests a minute, from its first use on."""
    key = limited.new_key(name, rpm=LIMIT)
    check(lambda: limited.chat_once(key), "key.rpm")


@pytest.mark.parametrize(
    ("param", "settings", "fields"),
    [
        ("team.rpm", {"teams": {"crew": {"rpm": LIMIT}}}, {"team": "crew"}),
        ("model.rpm", {"models": {"m1": {"rpm": LIMIT}}}, {}),
        ("global.rpm", {"limits": {"rpm": LIMIT}}, {}),
        ("key.model.rpm", {}, {"model_limits": {"m*": {"rpm": LIMIT}}}),
    ],
)
def test_limits_of_several_callers_are_shared(
    limited_with: StartLimited, param: str, settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    limited = limited_with(**settings)
    shares = param != "key.model.rpm"
    keys = [limited.new_key(f"key-{number}", rpm=100_000, **fields) for number in range(3 if shares else 1)]
    turns = iter(range(1 << 60))
    check(lambda: limited.chat_once(keys[next(turns) % len(keys)]), param, STORM_S / 2)


def test_a_limit_of_an_upstream(limited_with: StartLimited, name: str) -> None:
    limited = limited_with(upstream_options={"rpm": LIMIT})
    key = limited.new_key(name)
    check(lambda: limited.chat_once(key), "upstream.rpm", STORM_S / 2)


def test_who_waits_as_told_is_admitted(limited: Limited, name: str) -> None:
    """The time of a refusal is enough, to the millisecond."""
    key = limited.new_key(name, rpm=60)
    while limited.chat(key).status == 200:
        pass
    for _ in range(3):
        while (answer := limited.chat(key)).status == 200:
            pass
        time.sleep(float(answer.header("retry-after-ms")) / 1000)
        assert limited.chat(key).status == 200


def test_who_waits_for_tokens_as_told_is_admitted(limited: Limited, name: str) -> None:
    key, script = limited.new_key(name, tpm=6000), limited.script(document(3, 500))
    while (answer := limited.chat(key, script, max_tokens=500)).status == 200:
        limited.proxy.line(answer.id)
    assert answer.error["param"] == "key.tpm"
    time.sleep(float(answer.header("retry-after-ms")) / 1000)
    assert limited.chat(key, script, max_tokens=500).status == 200


def test_a_limit_that_is_changed_holds_for_the_next_request_of_every_worker(limited: Limited, name: str) -> None:
    key = limited.new_key(name, rpm=2)
    limited.chat(key)
    limited.chat(key)
    assert {limited.chat(key).status for _ in range(8)} == {429}
    for rpm, status in ((100_000, 200), (0, 429), (100_000, 200), (None, 200)):
        limited.admin.change(name, {"rpm": rpm})
        assert {limited.chat(key).status for _ in range(24)} == {status}
    # What was used has come back at the rate of the limit that held: one request may fit into the new one.
    limited.admin.change(name, {"rpm": 1})
    assert [limited.chat(key).status for _ in range(24)].count(429) >= 23


def test_a_limit_tells_what_is_left(limited: Limited, name: str) -> None:
    """The headers are those of the key, in OpenAI's own format."""
    key = limited.new_key(name, rpm=60, tpm=60_000)
    first, second = limited.chat(key, max_tokens=10), limited.chat(key, max_tokens=10)
    assert (first.header("x-ratelimit-limit-requests"), first.header("x-ratelimit-limit-tokens")) == ("60", "60000")
    assert first.header("x-ratelimit-remaining-requests") == "59"
    assert int(second.header("x-ratelimit-remaining-requests")) in (58, 59)
    assert int(first.header("x-ratelimit-remaining-tokens")) < 60_000
    assert first.header("x-ratelimit-reset-requests") in ("1s", "999ms", "1000ms")
