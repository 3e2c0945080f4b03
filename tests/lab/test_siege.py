"""Clients that mean harm stop nobody. SIEGE_S=60 SIEGE_HELD=2000 for the whole of it, with its times."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from tests.lab.siege import Siege
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream, eventually

SIEGE_S = float(os.environ.get("SIEGE_S", "3"))
HELD = int(os.environ.get("SIEGE_HELD", "200"))
#: Times only say something where the machine has nothing else to do.
IS_TIMED = "SIEGE_S" in os.environ
HARMS = ("images", "blanks", "head", "bomb")


def threads(door: Proxy) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in door.workers())


def resident_mib(door: Proxy) -> int:
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 // 1024 for pid in door.workers())


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_clients_that_mean_harm_stop_nobody(upstream: Upstream, start: Serve, worker_class: str) -> None:
    settings = {"WORKER_CLASS": worker_class, "WORKERS": "4", "INLINE_IMAGES": "true"}
    door = start(TARGET_BASE_URL=upstream.url, **settings, **UNCOVERED)
    workers = eventually(lambda: len(pids := door.workers()) == 4 and pids)
    Siege(door.port).run(1.0)  # until every worker has served
    quiet = Siege(door.port).run(min(SIEGE_S / 2, 10.0))
    before = threads(door), door.descriptors(), resident_mib(door)
    report = Siege(door.port).run(SIEGE_S, HELD, HARMS)
    print(f"{worker_class}, quiet: {quiet}\n{worker_class}, besieged by 2 x {HELD} held connections: {report}")
    assert (quiet.failures, report.failures) == ([], [])
    assert door.workers() == workers, "none of them died"
    eventually(lambda: door.descriptors() <= before[1] + 40)
    after = threads(door), door.descriptors(), resident_mib(door)
    print(f"threads, descriptors, MiB of four workers: {before} before, {after} after")
    assert after[0] <= before[0] + 40
    assert "Traceback" not in door.log()
    if IS_TIMED:
        assert statistics.median(report.chats) < statistics.median(quiet.chats) + 0.05
        assert max(report.probes) < 1
