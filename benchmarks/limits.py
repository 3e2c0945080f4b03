"""What limits cost a request: to admit it and to settle it, with rpm, tpm, a budget and a row in the ledger.

Each process works like a worker that does nothing else, then like one that has so many requests a second (50, or the
second argument); the first argument is how many requests it has (5000). Processes are 1 and 4.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.charges import Progress, charge_claims
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limits import Budget, LimitedSubject, Limits, Period
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.local_limits import LocalLimits

KEYS = 20
LIMITS = Limits(rpm=10**8, tpm=10**9, budget=Budget(10**17, Period.MONTH))
CALENDAR = BudgetCalendar(lambda _: (2026, 11, 23))


class Work(NamedTuple):
    """What one process does: `pause_s` is what it waits between requests."""

    folder: Path
    process: int
    requests: int
    pause_s: float


class Times(NamedTuple):
    """What it took, in seconds: `cpu_s` for all requests, the others for each."""

    cpu_s: float
    admit_s: Sequence[float]
    settle_s: Sequence[float]
    refused: int


def work(task: Work) -> Times:
    """Admit and settle requests, and measure it."""
    store, maker = LocalLimits(task.folder, lambda _: None), ClaimMaker(CALENDAR)
    admit_s, settle_s, cpu_s, refused = [], [], 0.0, 0
    for number in range(task.requests):
        if task.pause_s:
            time.sleep(task.pause_s)
        now, key = time.time(), f"key{number % KEYS}"
        claims = maker.make([LimitedSubject(f"key:{key}", LIMITS)], 1300, 10**6, now)
        entry = LedgerEntry(f"{task.process:04x}{number:028x}", now, key, "ann", "research", "gpt-5-mini", "openai")
        charges = charge_claims(claims, Progress.COMPLETE, 500, 10**5)
        before_cpu, before = time.process_time(), time.perf_counter()
        try:
            store.admit(Reservation(claims, entry, 300), now)
        except StateUnavailable:
            refused += 1
        between = time.perf_counter()
        store.settle(entry.request_id, charges, entry, now)
        settle_s.append(time.perf_counter() - between)
        cpu_s += time.process_time() - before_cpu
        admit_s.append(between - before)
    store.close()
    return Times(cpu_s, admit_s, settle_s, refused)


def measure(processes: int, requests: int, pause_s: float) -> None:
    """Let processes work at the same time, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [Work(Path(folder), process, requests, pause_s) for process in range(processes)]
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            times = list(pool.map(work, tasks))
    cpu_us = sum(one.cpu_s for one in times) / (processes * requests) * 1e6
    line = f"{processes} processes, {'no pause' if not pause_s else f'{1 / pause_s:.0f}/s each'}: {cpu_us:.0f} us CPU"
    for name in ("admit_s", "settle_s"):
        each = sorted(value for one in times for value in getattr(one, name))
        p50, p99, most = (each[int(part * (len(each) - 1))] * 1e6 for part in (0.5, 0.99, 1.0))
        line += f"; {name.removesuffix('_s')} p50 {p50:.0f} us, p99 {p99:.0f} us, max {most:.0f} us"
    print(f"{line}; {sum(one.refused for one in times)} refused", flush=True)


def main(requests: int, rate: float) -> None:
    """Print the figures."""
    for processes in (1, 4):
        measure(processes, requests, 0.0)
        measure(processes, requests // 10, 1 / rate)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000, float(sys.argv[2]) if len(sys.argv) > 2 else 50.0)
