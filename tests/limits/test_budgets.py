"""Budgets and quotas that many requests want at once: what they promise is never passed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.limits.limited import (
    MAX_PROMPT,
    TOKEN_NANOS,
    UNPRICED,
    Limited,
    StartLimited,
    answers_of,
    cost_of,
)
from tests.limits.metered import ORDINARY_TOKENS, document, held
from tests.support.client import Answer
from tests.support.storm import is_state_unavailable

CALLERS = 20


def codes(answers: list[Answer]) -> set[str]:
    return {answer.error["code"] for answer in answers if answer.status != 200 and not is_state_unavailable(answer)}


def race(limited: Limited, name: str, key: str, script: str, count: int = CALLERS, **body: Any) -> list[Answer]:
    """Send requests at once whose replies come when all are admitted or refused, and return their answers."""
    clients = limited.at_once(count, key, script, **body)
    limited.decided(name, script, count)
    limited.upstream.open(script, count)
    return answers_of(clients)


def test_budget_race_same_key(limited: Limited, name: str) -> None:
    """A budget that is enough for one request, and twenty of them at once."""
    key = limited.new_key(name, budget="1.5/total", reserve="max")
    script = limited.script(*held(document(3, 1000)))
    answers = race(limited, name, key, script, max_tokens=1000)
    assert [answer.status for answer in answers].count(200) == limited.upstream.count(script) == 1
    assert codes(answers) == {"insufficient_quota"}
    assert cost_of(limited.settled(name, 1)) == 1003 * TOKEN_NANOS
    again = limited.chat(key, script, max_tokens=1000)
    assert (again.status, again.header("x-should-retry")) == (429, "false")


def test_a_budget_with_expected_output_is_passed_by_the_error_of_the_estimates_only(
    limited: Limited, name: str
) -> None:
    """Two are admitted, with 1,024 tokens of output each; each uses 2,000."""
    key = limited.new_key(name, budget="2.5/total", reserve="expected")
    script = limited.script(*held(document(3, 2000)))
    answers = race(limited, name, key, script)
    assert [answer.status for answer in answers].count(200) == 2
    spent = cost_of(limited.settled(name, 2))
    assert spent == 2 * 2003 * TOKEN_NANOS
    assert spent - 2500 * TOKEN_NANOS <= 2 * (2003 - 1024) * TOKEN_NANOS
    assert limited.chat(key).status == 429


def test_budget_race_first_use(limited: Limited, name: str) -> None:
    """The very first requests of a key are limited as all others are."""
    limits: list[dict[str, Any]] = [{"budget": "1.5/month"}, {"tpm": 1500}, {"rpm": 1}, {"concurrent": 1}]
    for number, fields in enumerate(limits):
        own = f"{name[:50]}-{number}"
        key = limited.new_key(own, reserve="max", **fields)
        script = limited.script(*held(document(3, 1000)))
        answers = race(limited, own, key, script, 8, max_tokens=1000)
        assert [answer.status for answer in answers].count(200) == limited.upstream.count(script) == 1


def test_rich_key_skips_reserve(limited: Limited, name: str) -> None:
    """A request is reserved for even if the budget is a hundred times what it may cost."""
    key = limited.new_key(name, budget="100/total", reserve="max")
    script = limited.script(*held(document(3, 7)))
    with limited.send(key, script, max_tokens=1000) as client:
        limited.upstream_has(script, 1)
        assert limited.chat(key, max_tokens=99_500).status == 429
        limited.upstream.open(script)
        assert client.answer().status == 200
    limited.settled(name, 1)
    assert limited.chat(key, max_tokens=99_500).status == 200


def test_no_max_tokens(limited: Limited, name: str) -> None:
    """Without `max_tokens` the prompt is reserved too: two of 2,000 tokens are more than 3,000."""
    key = limited.new_key(name, tpm=5000)
    prompt = [{"role": "user", "content": "word " * 1600}]
    script = limited.script(*held(document(2000, 7)))
    answers = race(limited, name, key, script, 4, messages=prompt)
    assert [answer.status for answer in answers].count(200) == 1


def test_the_most_output_has_to_be_known(limited: Limited, name: str) -> None:
    """Where the most is reserved, a request says it, or the price list does."""
    key = limited.new_key(name, budget="1.5/total", reserve="max")
    answer = limited.chat(key)
    assert (answer.status, answer.error["param"]) == (400, "max_tokens")
    assert limited.chat(key, model="bounded").status == 200
    limited.settled(name, 1)
    assert limited.chat(key, max_tokens=500).status == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 5000}, 429),
        ({"max_tokens": 5000, "max_completion_tokens": 1}, 429),
        ({"max_output_tokens": 1}, 400),
        ({"max_output_tokens": 1, "max_tokens": 5000}, 429),
    ],
)
def test_no_other_bound_leads_around_a_budget(limited: Limited, name: str, fields: dict[str, int], status: int) -> None:
    """Of several bounds the largest is reserved for, and one that chats do not have is none."""
    key = limited.new_key(name, budget="1.5/total", reserve="max")
    assert limited.chat(key, **fields).status == status


@pytest.mark.parametrize("named", ["max_tokens", "max_completion_tokens"])
def test_each_of_several_choices_is_reserved_for(limited: Limited, name: str, named: str) -> None:
    key = limited.new_key(name, budget="2.5/total", reserve="max")
    assert limited.chat(key, n=3, **{named: 1000}).status == 429
    assert limited.chat(key, n=2, **{named: 1000}).status == 200


def test_tiered_price_reserve(limited: Limited, name: str) -> None:
    """A long prompt is reserved for at the price of long prompts."""
    key = limited.new_key(name, budget="15/total", reserve="max")
    long = [{"role": "user", "content": "word " * 1600}]
    answer = limited.chat(key, model="tiered", messages=long, max_tokens=10)
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    script = limited.script(document(900, 10))
    assert limited.chat(key, script, model="tiered", max_tokens=10).status == 200
    (entry,) = limited.settled(name, 1)
    assert entry["cost_nanos"] == 910 * TOKEN_NANOS


def test_phantom_exceeded(limited: Limited, name: str) -> None:
    """What is spent is the same in workers that have just started, to the token."""
    key = limited.new_key(name, budget="1/month", reserve="max")
    for _ in range(5):
        assert limited.chat(key, max_tokens=7).status == 200
    tokens = sum(ORDINARY_TOKENS) * 5
    assert cost_of(limited.settled(name, 5)) == tokens * TOKEN_NANOS
    for _ in limited.proxy.workers():
        limited.proxy.replace_worker()
    for _ in range(8):
        assert limited.chat(key, max_tokens=1000 - tokens).status == 429
    assert limited.chat(key, max_tokens=1000 - tokens - MAX_PROMPT).status == 200


def test_hundred_at_once(limited: Limited, name: str) -> None:
    """A hundred calls at once against tokens for three."""
    key = limited.new_key(name, tpm=350)
    script = limited.script(*held(document(3, 100)))
    began = time.monotonic()
    answers = race(limited, name, key, script, 100, max_tokens=100)
    took_s = time.monotonic() - began
    served = [answer.status for answer in answers].count(200)
    assert served >= 3
    assert 103 * served <= 350 + 350 / 60 * took_s
    assert codes(answers) == {"rate_limit_exceeded"}


def test_token_limit_counts_requests(limited: Limited, name: str) -> None:
    """Tokens are counted, no requests: the third of 700 tokens passes 2,000."""
    key = limited.new_key(name, tpm=2000)
    script = limited.script(document(300, 400))
    began, answers = time.monotonic(), []
    for _ in range(12):
        answers.append(limited.chat(key, script, max_tokens=400))
        limited.proxy.line(answers[-1].id)
    served = [answer.status for answer in answers].count(200)
    assert served >= 2
    assert (served - 1) * 700 <= 2000 + 2000 / 60 * (time.monotonic() - began)
    assert {answer.error["param"] for answer in answers if answer.status != 200} == {"key.tpm"}
    entries = limited.settled(name, served)
    assert {entry["prompt_tokens"] + entry["completion_tokens"] for entry in entries} == {700}


def test_fractions_are_kept(limited: Limited, name: str) -> None:
    """A request of ten billionths costs ten billionths."""
    key = limited.new_key(name, budget="1/total")
    for _ in range(7):
        assert limited.chat(key, model="tiny").status == 200
    assert cost_of(limited.settled(name, 7)) == 7 * sum(ORDINARY_TOKENS)


def test_no_budget_means_refused(limited: Limited, name: str) -> None:
    """A key without limits, or without a budget beside other limits, is not refused."""
    assert limited.chat(limited.new_key(f"{name[:50]}-bare"), model=UNPRICED).status == 200
    assert limited.chat(limited.new_key(f"{name[:50]}-rpm", rpm=1000), model=UNPRICED).status == 200
    assert limited.chat("k-static-0123456789", model=UNPRICED).status == 200


@pytest.mark.parametrize("limit", [{"rpm": 0}, {"tpm": 0}, {"concurrent": 0}, {"budget": "0/month"}])
def test_zero_limit(limited: Limited, name: str, limit: dict[str, Any]) -> None:
    """0 lets nothing through."""
    key = limited.new_key(name, **limit)
    script = limited.script(document(3, 7))
    answers = [limited.chat(key, script) for _ in range(3)]
    (kind,) = limit
    assert {(answer.status, answer.error["param"]) for answer in answers} == {(429, f"key.{kind}")}
    assert {answer.header("x-should-retry") for answer in answers} == {"false"}
    assert limited.upstream.count(script) == 0


def test_a_budget_that_is_raised_holds_at_once(limited: Limited, name: str) -> None:
    key = limited.new_key(name, budget="1.5/month", reserve="max")
    assert limited.chat(key, max_tokens=1000).status == 200
    limited.settled(name, 1)
    for _ in range(8):
        assert limited.chat(key, max_tokens=1450).status == 429
    limited.admin.change(name, {"budget": "5/month"})
    assert {limited.chat(key, max_tokens=1450).status for _ in range(16)} == {200}
    limited.admin.change(name, {"budget": "0.1/month"})
    assert {limited.chat(key, max_tokens=1).status for _ in range(16)} == {429}


def test_a_budget_of_a_team_is_shared_by_its_keys(limited_with: StartLimited, name: str) -> None:
    limited = limited_with(teams={"crew": {"budget": "1.5/total"}})
    keys = [limited.new_key(f"crew-{number}", team="crew", reserve="max") for number in range(3)]
    assert limited.chat("k-static-0123456789").status == 200  # makes the file of the counters
    script = limited.script(*held(document(3, 1000)))
    clients = [client for key in keys for client in limited.at_once(6, key, script, max_tokens=1000)]
    limited.decided("", script, 18)
    limited.upstream.open(script, 18)
    answers = answers_of(clients)
    assert [answer.status for answer in answers].count(200) == 1
    assert {answer.error["param"] for answer in answers if answer.status == 429} == {"team.budget"}
