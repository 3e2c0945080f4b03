"""What replicas know without telling each other, and what their metrics are together."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.scale.replicas import COUNT, Replicas, front_haproxy, replicas_behind
from tests.support.client import ask, chat
from tests.support.processes import Upstream, eventually

SESSIONS = [f"session-{number}" for number in range(12)]
UPSTREAMS = ("left", "middle", "right")


@pytest.fixture(scope="module")
def replicas(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    upstreams = {name: {"base_url": f"{upstream.url}/v1", "api_key": f"sk-{name}"} for name in UPSTREAMS}
    models = {"m1": {"upstream": list(UPSTREAMS), "balance": "sticky"}}
    folder = tmp_path_factory.mktemp("together")
    with replicas_behind(front_haproxy, folder, upstream, upstreams=upstreams, models=models) as running:
        yield running


def test_a_session_has_the_same_upstream_in_every_replica(replicas: Replicas) -> None:
    chosen = {
        session: [
            chat(proxy.port, headers={"X-Session-Id": session}).header("X-Upstream") for proxy in replicas.proxies
        ]
        for session in SESSIONS
    }
    assert all(len(set(names)) == 1 for names in chosen.values()), chosen
    assert {names[0] for names in chosen.values()} == set(UPSTREAMS)


def test_the_counts_of_all_replicas_add_up(replicas: Replicas) -> None:
    count = 4 * COUNT
    before = counted(replicas)
    assert {replicas.chat().status for _ in range(count)} == {200}
    eventually(lambda: sum(counted(replicas)) == sum(before) + count)
    assert all(after > earlier for after, earlier in zip(counted(replicas), before, strict=True)), "each had its part"


def counted(replicas: Replicas) -> list[int]:
    """Return how many requests each replica has counted, as Prometheus reads it."""
    texts = [ask(proxy.port, "GET", "/metrics").body.decode() for proxy in replicas.proxies]
    return [sum(map(int, re.findall(r"(?m)^argoproxy_requests_total\{.*\} (\d+)(?:\.0)?$", text))) for text in texts]
