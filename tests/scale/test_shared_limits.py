"""One limit for three replicas behind nginx: as exact as on one host, and whatever happens to a replica."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.scale.replicas import Replicas, front_nginx, replicas_behind
from tests.support.client import Answer, Client
from tests.support.processes import Upstream, eventually
from tests.support.redis_server import MISSING, RealRedis
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event
from tests.support.storm import assert_never_above, assert_nothing_lost, storm

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

CLIENTS = 24
STORM_S = 2.0
RPM = 100
TPM = 7000
#: What the scripted upstream tells of a request that names no script, and what a client asks for at most.
TOKENS, MOST_OUTPUT = 10, 7
PLACES = 5
#: A token costs a thousandth, so this is enough for two hundred requests; in billionths, as it is counted.
BUDGET, TOKEN_NANOS = 2_000_000_000, 1_000_000
COST = TOKENS * TOKEN_NANOS
#: With `reserve: max`, of which this is a test, more than is set aside for a request until it ends.
MOST_RESERVED = (250 + MOST_OUTPUT) * TOKEN_NANOS


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRedis]:
    with RealRedis(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, redis: RealRedis) -> Iterator[Replicas]:
    models = {
        "by-requests": {"rpm": RPM},
        "by-tokens": {"tpm": TPM},
        "by-money": {"budget": f"{BUDGET / 1e9}/total"},
        "at-once": {"concurrent": PLACES},
        "killed": {"concurrent": PLACES},
    }
    settings = {
        "redis_url": redis.url,
        "replicas": 3,
        "models": models,
        "reserve": "max",
        "prices": {"*": {"input": TOKEN_NANOS // 1000, "output": TOKEN_NANOS // 1000}},
    }
    with replicas_behind(front_nginx, tmp_path_factory.mktemp("shared"), upstream, **settings) as running:
        yield running


def test_requests_a_minute(replicas: Replicas) -> None:
    calls = storm(CLIENTS, STORM_S, lambda: replicas.chat(model="by-requests"))
    assert {call.status for call in calls} == {200, 429}
    assert_never_above(calls, RPM, RPM)
    assert_nothing_lost(calls, RPM, RPM)
    assert_all_served(replicas)


def test_tokens_a_minute(replicas: Replicas) -> None:
    calls = storm(CLIENTS, STORM_S, lambda: replicas.chat(model="by-tokens", max_tokens=MOST_OUTPUT))
    assert {call.status for call in calls} == {200, 429}
    assert_never_above(calls, TPM, TPM, TOKENS)


def test_a_budget(replicas: Replicas) -> None:
    """Not a request more than the budget pays for, and none refused that it would have paid for."""

    def ask() -> Answer:
        return replicas.chat(model="by-money", max_tokens=MOST_OUTPUT)

    statuses = [call.status for call in storm(CLIENTS, STORM_S, ask)]
    while (answer := ask()).status == 200:
        statuses.append(answer.status)
    assert answer.error["code"] == "insufficient_quota"
    assert BUDGET - MOST_RESERVED < statuses.count(200) * COST <= BUDGET


@contextmanager
def held_streams(replicas: Replicas, model: str, count: int) -> Iterator[tuple[str, list[Client]]]:
    """Ask for so many streams at once that stay open, and yield their script and those that were let in."""
    script = replicas.upstream.script(
        ["send", CHUNKED + chunked(event("a"))], ["await"], ["send", bodies([event("b", "stop"), DONE])]
    )
    with ThreadPoolExecutor(count) as pool:
        clients = list(pool.map(lambda _: replicas.send(script, model=model), range(count)))
    with ExitStack() as stack:
        statuses = [stack.enter_context(client).head().status for client in clients]
        assert set(statuses) <= {200, 429}
        yield script, [client for client, status in zip(clients, statuses, strict=True) if status == 200]


def test_requests_at_once(replicas: Replicas) -> None:
    with held_streams(replicas, "at-once", CLIENTS) as (script, open_ones):
        assert len(open_ones) == PLACES
        assert replicas.chat(model="at-once").error["param"] == "model.concurrent"
        open_ones.pop().leave()
        eventually(lambda: replicas.chat(model="at-once").status == 200)
        replicas.upstream.open(script, PLACES)
        for client in open_ones:
            client.until(DONE.encode())
    with held_streams(replicas, "at-once", CLIENTS) as (script, open_ones):
        assert len(open_ones) == PLACES
        replicas.upstream.open(script, PLACES)


def test_a_killed_replica_gives_its_places_back(replicas: Replicas) -> None:
    """What the others hold stays theirs; what the killed one held is free when its leases end."""
    with held_streams(replicas, "killed", PLACES) as (script, open_ones):
        assert len(open_ones) == PLACES
        assert replicas.chat(model="killed").status == 429
        replicas.kill(2)
        assert replicas.chat(model="killed").status == 429, "the others don't know yet that it is gone"
        eventually(lambda: replicas.chat(model="killed").status == 200)
        replicas.upstream.open(script, PLACES)
        ended = [DONE.encode() in read_to_end(client) for client in open_ones]
    assert 0 < ended.count(False) < PLACES


def read_to_end(client: Client) -> bytes:
    """Return what comes until the connection or the stream ends."""
    try:
        return client.until(DONE.encode())
    except (AssertionError, OSError):
        return client.rest()


def assert_all_served(replicas: Replicas) -> None:
    """Check that each replica had its part."""
    assert all(proxy.lines() for proxy in replicas.proxies)
