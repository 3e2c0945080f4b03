"""Replicas that share a Redis server, over the wire: one limit, and what was spent is what they have written down."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from argoproxy.stores.redis.redis_limits import RedisLimits
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

BUDGET = "global/budget/total"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    with RealRedis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


class Replica:
    """A proxy with a state folder of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir()
        self._state = folder / "state"
        config = {"state_path": str(self._state), "replicas": 2, "num_workers": 2, **settings}
        (folder / "config.yaml").write_text(json.dumps(config))
        self.proxy = Proxy(folder, {"CONFIG_PATH": str(folder / "config.yaml")})

    def ask(self, _: int = 0) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        return requests.post(f"{self.proxy.url}/v1/chat/completions", json=body, timeout=60).status_code

    def spent(self) -> int:
        """Return the sum of its ledger."""
        with closing(sqlite3.connect(self._state / "usage.sqlite3")) as database:
            return int(database.execute("SELECT coalesce(sum(cost_nanos), 0) FROM ledger").fetchone()[0])


Start = Callable[..., list[Replica]]


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream, redis: RealRedis) -> Iterator[Start]:
    started: list[Replica] = []

    def start_two(**settings: Any) -> list[Replica]:
        common = {"target_base_url": upstream.url, "redis_url": redis.url, **settings}
        started.extend(Replica(tmp_path / name, **common) for name in "ab")
        return started

    yield start_two
    for one in started:
        one.proxy.stop()


def spent(redis: RealRedis) -> int:
    server = redis.server()
    try:
        return RedisLimits(server, "argoproxy").read_used([BUDGET]).get(BUDGET, 0)
    finally:
        server.close()


def ask_both(replicas: list[Replica], times: int) -> list[int]:
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda number: replicas[number % 2].ask(), range(times)))


def test_two_replicas_keep_one_limit(start: Start) -> None:
    statuses = ask_both(start(limits={"rpm": 20}, redis_timeout=5), 60)
    # One comes back every three seconds.
    assert 20 <= statuses.count(200) < 40
    assert set(statuses) == {200, 429}


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_what_was_spent_while_the_server_was_frozen_is_charged(
    start: Start, redis: RealRedis, worker_class: str
) -> None:
    settings = {
        "worker_class": worker_class,
        "redis_timeout": 2,
        "limits": {"budget": "1000/total", "rpm": 100_000, "concurrent": 100},
        "prices": {"m": {"input": 1000, "output": 1000}},
    }
    replicas = start(**settings)
    assert set(ask_both(replicas, 40)) == {200}
    redis.freeze()
    meanwhile = ask_both(replicas, 40)
    redis.thaw()
    assert meanwhile.count(200) > 20
    assert set(meanwhile) <= {200, 503}  # a worker that has not seen the budget before refuses
    eventually(lambda: all(is_back(one) for one in replicas))
    assert set(ask_both(replicas, 40)) == {200}
    eventually(lambda: spent(redis) == sum(one.spent() for one in replicas) > 0)
    for one in replicas:
        assert len(one.proxy.coded("shared_limits_unavailable")) <= 2
        assert "redis://" not in one.proxy.log()


def is_back(replica: Replica) -> bool:
    """Return whether all of its workers that lost the server have it again."""
    lost, found = (len(replica.proxy.coded(f"shared_limits_{word}")) for word in ("unavailable", "available"))
    return lost == found > 0
