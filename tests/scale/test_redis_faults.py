"""Replicas that share a Redis server which fails in every way: what they do meanwhile, and that all is counted then."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.processes import Proxy, Upstream
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

PRICES = "{m: {input: 1000000, output: 1000000}}"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    with RealRedis(tmp_path, "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


class Replica:
    """A proxy with a state folder of its own."""

    def __init__(self, folder: Path, upstream: Upstream, redis: RealRedis, **settings: str) -> None:
        folder.mkdir()
        environ = {
            "TARGET_BASE_URL": upstream.url,
            "REDIS_URL": redis.url,
            "STATE_PATH": str(folder / "state"),
            "REPLICAS": "2",
            "WORKERS": "2",
            **{name.upper(): value for name, value in settings.items()},
        }
        self.proxy = Proxy(folder, environ)

    def ask(self) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        return requests.post(f"{self.proxy.url}/v1/chat/completions", json=body, timeout=60).status_code


def test_two_replicas_keep_one_limit(tmp_path: Path, upstream: Upstream, redis: RealRedis) -> None:
    replicas = [Replica(tmp_path / name, upstream, redis, limits_rpm="20") for name in "ab"]
    try:
        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(lambda number: replicas[number % 2].ask(), range(60)))
        assert 20 <= statuses.count(200) <= 22
        assert set(statuses) == {200, 429}
    finally:
        for one in replicas:
            one.proxy.stop()
