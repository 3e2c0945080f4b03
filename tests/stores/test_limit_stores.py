"""Every store of counters, by any sequence of what workers do with it, against a plain model."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.limits import Admission, Claim
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.local.usage_database import DATABASE
from tests.support.limit_machine import WORKERS, LimitStoreMachine
from tests.support.memory_limits import MemoryLimits
from tests.support.strength import EXAMPLES


class InMemory:
    def __init__(self) -> None:
        self._store = MemoryLimits()
        self.workers: Sequence[LimitStore] = [self._store] * WORKERS

    def kill(self, requests: Sequence[str], now: float) -> Sequence[str]:
        for request_id in requests:
            self._store.abandon(request_id, now)
        return requests

    def lock(self) -> bool:
        return False

    def unlock(self) -> None:
        """Nothing is locked."""

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        return {key: (entry.ending, entry.cost_nanos) for key, entry in self._store.ledger.items()}

    def close(self) -> None:
        """Nothing is left."""


class Worker:
    """A process of its own with a store: it settles what it has admitted, until it is killed."""

    def __init__(self, folder: Path) -> None:
        context = get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(folder, other))
        self._process.start()
        self.running = set[str]()

    def call(self, method: str, *arguments: Any) -> Any:
        """Have it call a method of its store; return or raise what that does."""
        self._pipe.send((method, arguments))
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def serve(folder: Path, pipe: Connection) -> None:
    """Call methods of a store, as told."""
    store = LocalLimits(folder, lambda _: None, retry_s=600.0)
    while True:
        method, arguments = pipe.recv()
        try:
            pipe.send(getattr(store, method)(*arguments))
        except StateUnavailable as error:
            pipe.send(error)


class Door:
    """What a test calls in place of one worker: requests that another worker has are settled there."""

    is_up = True

    def __init__(self, store: OnOneHost, index: int) -> None:
        self._store, self._index = store, index

    def admit(self, reservation: Reservation, now: float) -> Admission:
        worker = self._store.processes[self._index]
        admission: Admission = worker.call("admit", reservation, now)
        if admission.refused is None:
            worker.running.add(reservation.if_abandoned.request_id)
        return admission

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        admission: Admission = self._owner(request_id).call("extend", request_id, claims, now)
        return admission

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        owner = self._owner(request_id)
        owner.running.discard(request_id)
        owner.call("settle", request_id, charges, entry, now)

    def close(self) -> None:
        """The worker goes on."""

    def _owner(self, request_id: str) -> Worker:
        workers = self._store.processes
        return next((one for one in workers if request_id in one.running), workers[self._index])


class OnOneHost:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.processes = [Worker(self.folder) for _ in range(WORKERS)]
        self.workers: Sequence[LimitStore] = [Door(self, index) for index in range(WORKERS)]

    def kill(self, requests: Sequence[str], now: float) -> Sequence[str]:
        killed = list[str]()
        for index, worker in enumerate(self.processes):
            if worker.running.intersection(requests):
                worker.kill()
                killed += sorted(worker.running)
                self.processes[index] = Worker(self.folder)
        self.processes[0].call("sweep", now)
        return killed

    def lock(self) -> bool:
        return False  # what happens then is tested by itself: much goes on

    def unlock(self) -> None:
        """Nothing is locked."""

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        for worker in self.processes:
            worker.call("flush")
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            rows = database.execute("SELECT request_id, ending, cost_nanos FROM ledger").fetchall()
        written = {request_id: (ending, cost) for request_id, ending, cost in rows}
        assert len(written) == len(rows)
        return written

    def close(self) -> None:
        for worker in self.processes:
            worker.kill()
        shutil.rmtree(self.folder)


class MemoryMachine(LimitStoreMachine):
    make = InMemory


class HostMachine(LimitStoreMachine):
    make = OnOneHost


TestInMemory = MemoryMachine.TestCase
TestOnOneHost = HostMachine.TestCase
TestInMemory.settings = TestOnOneHost.settings = settings(
    max_examples=6 * EXAMPLES // 10, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
