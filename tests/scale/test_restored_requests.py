"""A request that ends while it is told again to a server that has lost everything is charged all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from argoproxy.protocol.limits.limits import Claim, LimitKind, StoreFailure
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.redis.host_limits import FailureRules, HostLimits
from argoproxy.stores.redis.kept_settlements import KeptSettlements
from argoproxy.stores.redis.redis_limits import RedisLimits
from argoproxy.stores.redis.shared_limits import SharedLimits, Stores
from tests.support.processes import PATIENCE_S
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

ROW = "key:a/budget/total"


class SlowCounters(RedisLimits):
    """Counters at which the settlement of the request comes after that of the thread that has restored it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.restored, self.ends, self.settled = threading.Event(), threading.Event(), threading.Event()

    def restore(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> None:
        super().restore(request_id, claims, tokens, now)
        self.restored.set()
        assert self.ends.wait(PATIENCE_S)

    def settle(self, request_id: str, charges: Mapping[str, int], now: float) -> None:
        if not self.ends.is_set():
            self.ends.set()
            assert self.settled.wait(PATIENCE_S)
        super().settle(request_id, charges, now)
        self.settled.set()


def test_a_request_that_ends_while_it_is_restored_is_charged(tmp_path: Path) -> None:
    with RealRedis(tmp_path) as redis:
        server = redis.server()
        kept = KeptSettlements(tmp_path)
        rules = FailureRules(StoreFailure.LOCAL, StoreFailure.LOCAL, 1, 600.0)
        counters = SlowCounters(server, "t")
        store = SharedLimits(
            Stores(counters, HostLimits(tmp_path, rules, kept), kept, None), lambda _: None, renew_s=0.1
        )
        entry = LedgerEntry("1", time.time(), "a", "ann", "", "m", "u")
        claim = Claim(ROW, LimitKind.BUDGET, "key:a", 1000, 10)
        assert store.admit(Reservation([claim], entry, 0), entry.at).refused is None
        server.execute("FLUSHALL")
        assert counters.restored.wait(PATIENCE_S)
        store.settle("1", {ROW: 4}, None, time.time())
        assert counters.read_used([ROW]) == {ROW: 4}
        store.close()
        server.close()
