"""Limits of models whose answers are kept: one from the cache is a request, but costs nothing and holds no place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.limits.limited import Limited, StartLimited, cost_of
from tests.support.storm import assert_never_above, storm

CACHED = {"m1": {"cache": {"ttl": "10m"}}}
SAME: dict[str, Any] = {"temperature": 0, "user": "the same"}


@pytest.fixture
def cached(limited_with: StartLimited) -> Limited:
    return limited_with(models=CACHED)


def is_hit(limited: Limited, key: str) -> bool:
    answer = limited.chat(key, **SAME)
    assert answer.status == 200
    limited.proxy.line(answer.id)
    return "hit" in answer.header("Cache-Status")


def test_slot_leak_cache_hit(cached: Limited, name: str) -> None:
    key = cached.new_key(name, concurrent=1, budget="5/total")
    hits = [is_hit(cached, key) for _ in range(12)]
    assert hits == [False, *[True] * 11]
    entries = cached.settled(name, 12)
    assert sorted(entry["cost_nanos"] for entry in entries)[:-1] == [0] * 11
    assert cost_of(entries) > 0


def test_semantic_cache_steals_redis(cached: Limited, name: str) -> None:
    """With a cache the limits are still those of all workers together, and hits count as requests."""
    key = cached.new_key(name, rpm=30)
    calls = storm(8, 1.0, lambda: cached.chat_once(key, **SAME))
    assert {call.status for call in calls if not call.is_undecided} == {200, 429}
    assert_never_above(calls, 30, 30)
