"""Fifty replicas at one Redis server: what it grants all of them together is what one limit allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from argoproxy.protocol.limits.limits import Claim, LimitKind
from tests.support.processes import eventually
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

from argoproxy.stores.redis.redis_limits import RedisLimits

REPLICAS = 50
EACH = 6
PLACES, BUDGET, RPM = 70, 130, 100
#: Of a replica that is gone; the others renew theirs far more often.
LEASE_S = 5.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRedis]:
    with RealRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def replicas(redis: RealRedis, tmp_path: Path) -> Iterator[list[RedisLimits]]:
    """As many as there are, each with a connection of its own."""
    with ExitStack() as stack:
        servers = [redis.server() for _ in range(REPLICAS)]
        for server in servers:
            stack.callback(server.close)
        yield [RedisLimits(server, tmp_path.name, lease_s=LEASE_S) for server in servers]


def claim(kind: LimitKind, limit: int) -> Claim:
    return Claim(f"model:m/{kind}", kind, "model:m", limit, 1)


def storm(replicas: Sequence[RedisLimits], wanted: Claim) -> list[tuple[RedisLimits, str]]:
    """Have every replica ask for its requests at once, and return those that were granted."""

    def ask(replica: RedisLimits) -> list[tuple[RedisLimits, str]]:
        ids = [uuid4().hex for _ in range(EACH)]
        return [(replica, one) for one in ids if replica.admit(one, [wanted], 0, time.time()).refused is None]

    with ThreadPoolExecutor(len(replicas)) as pool:
        return [granted for part in pool.map(ask, replicas) for granted in part]


def test_places_are_granted_once(replicas: list[RedisLimits]) -> None:
    wanted = claim(LimitKind.CONCURRENT, PLACES)
    granted = storm(replicas, wanted)
    assert len(granted) == PLACES
    for replica, request_id in granted[: PLACES // 2]:
        replica.settle(request_id, {}, time.time())
        replica.settle(request_id, {}, time.time())
    assert len(storm(replicas, wanted)) == PLACES // 2


def test_money_is_granted_once(replicas: list[RedisLimits]) -> None:
    """What was set aside and not used comes back, once, whoever settles it how often."""
    wanted = claim(LimitKind.BUDGET, BUDGET)
    granted = storm(replicas, wanted)
    assert len(granted) == BUDGET
    for replica, request_id in granted[:50]:
        replica.settle(request_id, {wanted.row: 0}, time.time())
    for replica, request_id in granted[50:]:
        replica.settle(request_id, {wanted.row: 1}, time.time())
        replicas[0].settle(request_id, {wanted.row: 0}, time.time())
    assert len(storm(replicas, wanted)) == 50


def test_requests_a_minute_are_granted_once(replicas: list[RedisLimits]) -> None:
    begun = time.monotonic()
    granted = storm(replicas, claim(LimitKind.RPM, RPM))
    assert RPM <= len(granted) <= RPM + RPM / 60 * (time.monotonic() - begun)


def test_replicas_that_are_gone_give_their_places_back_and_no_others(replicas: list[RedisLimits]) -> None:
    wanted = claim(LimitKind.CONCURRENT, PLACES)
    granted = storm(replicas, wanted)
    gone = {id(replica) for replica in replicas[:10]} | {id(granted[0][0])}
    kept = [(replica, request_id) for replica, request_id in granted if id(replica) not in gone]
    alive = [replica for replica in replicas if id(replica) not in gone]
    again: list[tuple[RedisLimits, str]] = []
    lost = len(granted) - len(kept)

    def are_back() -> bool:
        for replica, request_id in kept + again:
            assert list(replica.renew([request_id], time.time())) == []
        again.extend(storm(alive[:5], wanted))
        return len(again) >= lost

    eventually(are_back)
    assert len(again) == lost
    assert storm(alive, wanted) == []
