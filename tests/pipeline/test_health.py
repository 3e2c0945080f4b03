from __future__ import annotations

import errno
from typing import Any

from argoproxy.pipeline.shared.health import Probe
from argoproxy.transport.watch import Poller, Watch


def test_a_process_that_ends_its_requests_is_not_ready() -> None:
    poller = Poller()
    probe = Probe([], lambda: Watch(None, poller))
    assert (probe.readiness().status, probe.readiness().document["status"]) == (200, "ready")
    poller.stop()
    health = probe.readiness()
    assert (health.status, health.document["status"]) == (503, "not_ready")
    assert health.document["reason"]


class Exhausted:
    """A poller of a process that has no descriptor left."""

    def open(self, client: int) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_process_that_can_watch_nothing_is_not_ready() -> None:
    exhausted: Any = Exhausted()
    health = Probe([], lambda: Watch(None, exhausted)).readiness()
    assert (health.status, health.document["reason"]) == (503, "Too many open files")


def test_a_proxy_that_drains_is_not_ready() -> None:
    poller = Poller()
    health = Probe([], lambda: Watch(None, poller), lambda: True).readiness()
    assert (health.status, health.document["status"]) == (503, "draining")
