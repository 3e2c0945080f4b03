from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.limits.limited import Limited, StartLimited, start_limited
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.storm import IS_FULL

KINDS = ["gthread", "gevent"]
#: The tests that run with both kinds in any case, by their files: locks, storms, and requests at once.
WAITING = {
    "test_exactness": ("test_limit_times_workers", "test_who_waits_as_told_is_admitted"),
    "test_mixed_endings": ("test_ledger_counters_and_upstream_agree_to_the_request",),
    "test_slots": ("test_",),
    "test_store_trouble": (
        "test_requests_with_limits_are_refused_and_others_are_not[gevent-locked]",
        "test_settle_replay[gevent-locked]",
    ),
}


@pytest.fixture(params=KINDS, scope="session")
def worker_class(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def limited(worker_class: str, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Limited]:
    """A proxy with four workers, shared by tests with keys of their own."""
    folder = tmp_path_factory.mktemp("limited")
    started: list[Proxy] = []

    def serve(**environ: str) -> Proxy:
        started.append(Proxy(folder, environ))
        return started[0]

    yield start_limited(serve, upstream, folder, {"WORKER_CLASS": worker_class})
    for proxy in started:
        proxy.stop()


@pytest.fixture
def limited_with(worker_class: str, tmp_path: Path, start: Serve, upstream: Upstream) -> StartLimited:
    """Start a proxy of the test's own, with these settings of the file; capital ones are of the environment."""

    def started(**settings: Any) -> Limited:
        environ = {name: value for name, value in settings.items() if name.isupper()}
        rest = {name: value for name, value in settings.items() if not name.isupper()}
        return start_limited(start, upstream, tmp_path, {"WORKER_CLASS": worker_class, **environ}, **rest)

    return started


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test gives a key."""
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:6]
    return f"{digest}-{re.sub(r'[^A-Za-z0-9]', '-', request.node.name)}"[:60]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out gevent where what is tested does not depend on how a worker waits."""
    skip = pytest.mark.skip(reason="runs with LIMITS=full: it does not depend on the kind of worker")
    for item in items if not IS_FULL else ():
        is_here = item.path.parent == Path(__file__).parent and isinstance(item, pytest.Function)
        if is_here and "[gevent" in item.name and not item.name.startswith(WAITING.get(item.path.stem, ())):
            item.add_marker(skip)
