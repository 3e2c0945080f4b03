"""What a replica reports of itself while the server of its limits can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    with RealRedis(tmp_path) as server:
        yield server


@pytest.mark.parametrize(("mode", "status"), [("refuse", 503), ("local", 200), ("allow", 200)])
def test_a_replica_that_refuses_requests_is_not_ready(
    redis: RealRedis, start: Serve, upstream: Upstream, tmp_path: Path, mode: str, status: int
) -> None:
    state = {"STATE_PATH": str(tmp_path / "state"), "LIMITS_RPM": "1000"}
    proxy = start(TARGET_BASE_URL=upstream.url, REDIS_URL=redis.url, ON_STORE_FAILURE=mode, **state)
    assert chat(proxy.port).status == 200
    redis.freeze()
    assert chat(proxy.port).status == status
    ready = ask(proxy.port, "GET", "/health/ready")
    assert ready.status == status
    assert ask(proxy.port, "GET", "/health/live").status == 200
    redis.thaw()
    eventually(lambda: ask(proxy.port, "GET", "/health/ready").status == 200 and chat(proxy.port).status == 200)
