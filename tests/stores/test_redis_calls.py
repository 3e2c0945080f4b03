"""What a Redis server is asked, and what is made of its answers. With a real one: tests/scale/."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.cache.kept_answer import AnswerForm, KeptAnswer
from argoproxy.protocol.limits.admission import CONCURRENT_RETRY_S
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.local.sqlite_ledger import SpentBudget
from argoproxy.stores.redis.limit_script import LIMITS, LuaScript
from argoproxy.stores.redis.redis_answers import LONGEST_KEPT_S, MOST_BYTES, RedisAnswers
from argoproxy.stores.redis.redis_limits import LateSettlement, RedisLimits, dump_claims, use_server_clock

KEY = bytes(range(32))
DOCUMENT = KeptAnswer(AnswerForm.DOCUMENT, b"{}")
NOW = 1_795_400_000.0
RPM = Claim("key:a/rpm", LimitKind.RPM, "key:a", 10, 1)
BUDGET = Claim("key:a/budget/2026-11", LimitKind.BUDGET, "key:a", 100, 7, NOW)


class Answering:
    """A server that gives answers in turn; what it was asked is in `asked`."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    def run(self, script: LuaScript, key: str, arguments: Sequence[str | int]) -> Any:
        return self.execute(key, *arguments)

    def execute(self, *command: str | int | bytes) -> Any:
        self.asked.append(command)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_claims_are_asked_with_the_clock_of_the_server() -> None:
    server = Answering([1, b"1795400000000000", b"60000000 1795400000000000", b"7 0"])
    admission = RedisLimits(server, "p").admit("r1", [RPM, BUDGET], 5, NOW)
    assert admission.refused is None
    assert {row: level.remaining for row, level in admission.levels.items()} == {RPM.row: 8, BUDGET.row: 86}
    claims = '["key:a/rpm", "rpm", 10, 1, 0], ["key:a/budget/2026-11", "budget", 100, 7, 1798856000000]'
    assert server.asked == [("{p}:open", "{p}:", "admit", use_server_clock(NOW), 30_000_000, "r1", claims, 5)]
    assert dump_claims([]) == ""


def test_a_refusal_names_the_claim_and_the_time() -> None:
    server = Answering([0, b"1795400000000000", b"600000000 1795400000000000", b"0 0"])
    admission = RedisLimits(server, "p").admit("r1", [RPM, BUDGET], 5, NOW)
    assert (admission.refused, admission.retry_after_s) == (RPM, 6.0)


def test_what_the_server_decides_holds() -> None:
    refused = RedisLimits(Answering([0, b"1", b"0 1"]), "p").admit("r1", [RPM], 0, NOW)
    assert (refused.refused, refused.retry_after_s) == (RPM, CONCURRENT_RETRY_S)
    assert RedisLimits(Answering([1, b"1", b"600000000 1"]), "p").admit("r1", [RPM], 0, NOW).refused is None
    assert RedisLimits(Answering([0]), "p").admit("settled", [RPM], 0, NOW).refused is None


def test_requests_are_settled_renewed_and_restored() -> None:
    server = Answering(1, 1, [b"r2"], 1)
    limits = RedisLimits(server, "p", clock=lambda now: 9)
    limits.settle("r1", {RPM.row: 1}, NOW)
    limits.replay(LateSettlement("r1", dump_claims([RPM]), {RPM.row: 1}, is_admitted=True), NOW)
    assert limits.renew(["r1", "r2"], NOW) == ["r2"]
    limits.restore("r2", [RPM], 3, NOW)
    operations = [(asked[2], asked[3], *asked[5:]) for asked in server.asked]
    charges = json.dumps({RPM.row: 1})
    assert operations == [
        ("settle", 9, "r1", charges),
        ("replay", 9, "r1", charges, dump_claims([RPM]), 1),
        ("renew", 9, "r1", "r2"),
        ("restore", 9, "r2", dump_claims([RPM]), 3),
    ]
    assert len(LIMITS.digest) == 40


def test_what_is_spent_is_read_with_the_end_of_the_period() -> None:
    kept_ms = (40 * 86_400 + 60) * 1000
    rows = [
        f"{{p}}:counter:key:a/{row}".encode() for row in ("budget/2026-10", "budget/2026-11", "budget/total", "rpm")
    ]
    server = Answering([b"5", rows[:2]], [b"0", rows[2:]], [b"4 0", b"5 0", b"6 0", b"7 1"], 1000, kept_ms, -1)
    assert RedisLimits(server, "p").read_spent("key:a", NOW) == [
        SpentBudget("key:a", "2026-11", 5, NOW + 60),
        SpentBudget("key:a", "total", 6, None),
    ]


def test_an_answer_is_read_with_its_age() -> None:
    server = Answering(None, [b"document 60000\n" + DOCUMENT.compress(), 45_000])
    answers = RedisAnswers(server, "p")
    answers.write(KEY, DOCUMENT, 60.0)
    found = answers.read(KEY)
    assert found is not None
    assert (found.answer, found.age_s) == (DOCUMENT, 15.0)
    assert server.asked[0][0] == "SET"
    assert server.asked[0][3:] == ("PX", 60_000)
    answers.close()


def test_answers_are_kept_a_day_at_most_and_large_ones_not_at_all() -> None:
    server = Answering()
    answers = RedisAnswers(server, "p")
    answers.write(KEY, DOCUMENT, 10 * LONGEST_KEPT_S)
    assert server.asked[0][-1] == int(1000 * LONGEST_KEPT_S)
    noise = b"".join(number.to_bytes(4, "big") for number in range(MOST_BYTES))
    answers.write(KEY, KeptAnswer(AnswerForm.DOCUMENT, noise), 60.0)
    answers.write(KEY, DOCUMENT, 0.0)
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", [None, b"", b"stream 5", b"stream x\nx", b"stream 60000\nnot compressed", b"\xff\n"])
def test_what_is_no_answer_is_none(value: bytes | None) -> None:
    assert RedisAnswers(Answering([value, 5]), "p").read(KEY) is None


def test_a_server_in_trouble_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    away = StateUnavailable("The limits can't be checked now: away.")
    server = Answering(away)
    answers = RedisAnswers(server, "p", pause_s=600.0)
    assert answers.read(KEY) is None
    answers.write(KEY, DOCUMENT, 60.0)
    assert len(server.asked) == 1
    server = Answering(away, away, None)
    answers = RedisAnswers(server, "p", pause_s=0.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert answers.read(KEY) is None
    assert len(server.asked) == 3
