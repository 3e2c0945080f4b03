"""A key that the config file of each replica declares is one key for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scale.replicas import Replicas, front_nginx, replicas_behind
from tests.support.client import Answer, chat
from tests.support.processes import Upstream
from tests.support.redis_server import MISSING, RealRedis
from tests.support.storm import assert_never_above, assert_nothing_lost, storm

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

KEY, MEMBERS_KEY = "k-0123456789abcdef", "k-fedcba9876543210"
RPM, CLIENTS, STORM_S = 100, 24, 1.5


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Replicas]:
    with RealRedis(tmp_path_factory.mktemp("redis")) as redis:
        settings = {
            "redis_url": redis.url,
            "replicas": 3,
            "enable_auth": True,
            "teams": {"crew": {"rpm": RPM}},
            "keys": {"ann": {"key": KEY, "rpm": RPM}, "bob": {"key": MEMBERS_KEY, "team": "crew"}},
        }
        with replicas_behind(front_nginx, tmp_path_factory.mktemp("keys"), upstream, **settings) as running:
            yield running


@pytest.mark.parametrize(("key", "param"), [(KEY, "key.rpm"), (MEMBERS_KEY, "team.rpm")])
def test_a_limit_of_a_declared_key_holds_for_all_replicas(replicas: Replicas, key: str, param: str) -> None:
    def ask() -> Answer:
        return chat(replicas.port, headers={"Authorization": f"Bearer {key}"})

    calls = storm(CLIENTS, STORM_S, ask)
    assert {call.status for call in calls} == {200, 429}
    assert {call.answer.error["param"] for call in calls if call.answer} == {param}
    assert_never_above(calls, RPM, RPM)
    assert_nothing_lost(calls, RPM, RPM)
