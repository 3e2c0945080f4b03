"""A budget as an operator gives it and a colleague spends it: by the commands, and with the official client."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import openai
import pytest

from tests.limits.limited import TOKEN_NANOS, Limited, command, run
from tests.limits.metered import ORDINARY_TOKENS
from tests.support.processes import eventually

COST = sum(ORDINARY_TOKENS) * TOKEN_NANOS / 1e9


def ask(limited: Limited, key: str, **options: Any) -> str:
    """Ask with the official client, which tries again as it does by itself."""
    messages: Any = [{"role": "user", "content": "Hi"}]
    with openai.OpenAI(base_url=f"{limited.proxy.url}/v1", api_key=key) as client:
        completion = client.chat.completions.create(model="m1", messages=messages, max_tokens=10, **options)
    return completion.choices[0].message.content or ""


def refusal(limited: Limited, key: str) -> openai.RateLimitError | None:
    """Ask, and return the error if the request is refused."""
    try:
        ask(limited, key)
    except openai.RateLimitError as error:
        return error
    return None


def count_refusals(limited: Limited, name: str) -> int:
    """Wait until a refusal of a key is in the log, and return how many there are."""
    count: int = eventually(lambda: limited.refused(name))
    return count


def spend_all(limited: Limited, key: str, at_most: int) -> int:
    """Ask until the budget is spent, and return how many requests were answered."""
    count = 0
    while (error := refusal(limited, key)) is None:
        count += 1
        assert count < at_most
    assert (error.code, error.param) == ("insufficient_quota", "key.budget")
    return count


def test_a_budget_is_spent_raised_and_its_key_rotated(limited: Limited, name: str) -> None:
    key = run(limited, f"keys create {name} --budget 0.1/month --rpm 1000").strip()
    asked = spend_all(limited, key, 20)
    assert asked * COST <= 0.1 < (asked + 3) * COST
    assert len(limited.settled(name, asked)) == asked
    assert count_refusals(limited, name) == 1  # the client does not try again
    run(limited, f"keys set {name} --budget 0.2/month")
    assert ask(limited, key)
    new = run(limited, f"keys rotate {name}").strip()
    with pytest.raises(openai.AuthenticationError):
        ask(limited, key)
    total = asked + 1 + spend_all(limited, new, 20)
    assert total * COST <= 0.2 < (total + 3) * COST
    (row,) = [row for row in json.loads(run(limited, "usage --by key --json")) if row["key"] == name]
    assert (row["requests"], row["total_tokens"]) == (total, total * sum(ORDINARY_TOKENS))
    assert row["cost"] == pytest.approx(total * COST)
    shown = json.loads(run(limited, f"keys show {name} --json"))
    assert (shown["budget"], shown["rpm"]) == ("0.2/month", 1000)


def test_usage_adds_up_however_it_is_grouped(limited: Limited, name: str) -> None:
    key = limited.new_key(name)
    for _ in range(3):
        ask(limited, key)
    limited.settled(name, 3)
    totals = set()
    for group in ("key", "team", "model", "day"):
        rows = json.loads(run(limited, f"usage --by {group} --json"))
        totals.add((sum(row["requests"] for row in rows), sum(row["total_tokens"] for row in rows)))
        table = list(csv.DictReader(io.StringIO(run(limited, f"usage --by {group} --csv"))))
        assert len(table) == len(rows)
    assert len(totals) == 1
    assert name[:20] in run(limited, "usage --by key")


def test_mistakes_in_limits_are_named(limited: Limited, name: str) -> None:
    for flags in ("--budget 5", "--rpm -1", "--rpm 1.5", "--tpm true", "--budget 5/year", "--reserve half"):
        done = command(limited, f"keys create {name} {flags}")
        assert done.returncode == 2
        assert flags.split()[0].strip("-") in done.stderr.decode()
    assert name not in run(limited, "keys list")
