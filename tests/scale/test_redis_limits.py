"""The counters in a real Redis server: exactly those of the model, whatever replicas do."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from argoproxy.protocol.limits.limits import Admission, Claim
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation
from argoproxy.stores.redis.redis_limits import RedisLimits
from tests.support.limit_machine import WORKERS, LimitStoreMachine
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

_NUMBERS = count()
#: Longer than any time that passes in the tests: only a test ends a lease.
_LEASE_S = 1e6


@dataclass
class Request:
    """What a worker knows of a request that runs: the ids of its parts, what it has claimed, its reservation."""

    reservation: Reservation
    rows: set[str]
    parts: list[str] = field(default_factory=list)


class CountingWorker:
    """A worker that counts in the server; requests and the ledger are in memory."""

    is_up = True

    def __init__(self, limits: RedisLimits, requests: dict[str, Request], ledger: dict[str, LedgerEntry]) -> None:
        self._limits, self._requests, self._ledger = limits, requests, ledger

    def admit(self, reservation: Reservation, now: float) -> Admission:
        request_id, claims = reservation.if_abandoned.request_id, reservation.claims
        admission = self._limits.admit(request_id, claims, reservation.abandoned_tokens, now)
        if admission.refused is None:
            self._requests[request_id] = Request(reservation, {one.row for one in claims}, [request_id])
        return admission

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        request = self._requests.get(request_id)
        if request is None:
            return Admission()
        more = [one for one in claims if one.row not in request.rows]
        part = f"{request_id}+{len(request.parts)}"
        admission = self._limits.admit(part, more, request.reservation.abandoned_tokens, now)
        if admission.refused is None:
            request.rows.update(one.row for one in more)
            request.parts.append(part)
        return admission

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        request = self._requests.pop(request_id, None)
        for part in request.parts * 2 if request else ():
            self._limits.settle(part, charges, now)
        if entry is not None:
            self._ledger.setdefault(request_id, entry)

    def close(self) -> None:
        """Nothing is open."""


@lru_cache(maxsize=1)
def machine_server() -> RealRedis:
    server = RealRedis(Path(tempfile.mkdtemp()))
    atexit.register(server.kill)
    return server


class InRedis:
    """Workers of several replicas, each with connections of its own."""

    def __init__(self) -> None:
        self._prefix = f"machine{next(_NUMBERS)}"
        self._servers = [machine_server().server() for _ in range(WORKERS)]
        self._requests: dict[str, Request] = {}
        self._ledger: dict[str, LedgerEntry] = {}
        self._limits = [RedisLimits(one, self._prefix, to_us, _LEASE_S) for one in self._servers]
        self.workers: Sequence[LimitStore] = [CountingWorker(one, self._requests, self._ledger) for one in self._limits]

    def kill(self, requests: Sequence[str], now: float) -> Sequence[str]:
        for request_id in requests:
            request = self._requests.pop(request_id)
            self._ledger.setdefault(request_id, request.reservation.if_abandoned)
            for part in request.parts:
                self._servers[0].execute("ZADD", f"{{{self._prefix}}}:open", 1, part)
        # The next request finds what they have left, fifty of them at once.
        assert self._limits[1].admit("next", [], 0, now).refused is None
        self._limits[1].settle("next", {}, now)
        return requests

    def lock(self) -> bool:
        return False

    def unlock(self) -> None:
        """Nothing is locked."""

    def ledger(self) -> dict[str, tuple[str, int | None]]:
        return {key: (entry.ending, entry.cost_nanos) for key, entry in self._ledger.items()}

    def close(self) -> None:
        for server in self._servers:
            server.close()


def to_us(now: float) -> int:
    return int(now * 1e6)


class RedisMachine(LimitStoreMachine):
    make = InRedis


TestInRedis = RedisMachine.TestCase
TestInRedis.settings = settings(max_examples=500, stateful_step_count=40, deadline=None)
