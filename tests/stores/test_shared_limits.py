"""What a host does with counters that it shares, also while it can't reach them. The server here is one in memory; the
same is shown with a real one in tests/scale/."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind, StoreFailure
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.redis.host_limits import SHARE_RETRY_S, FailureRules, HostLimits
from argoproxy.stores.redis.kept_settlements import FILE_NAME, KeptSettlements, current_charges
from argoproxy.stores.redis.redis_limits import LateSettlement
from argoproxy.stores.redis.shared_limits import SharedLimits, Stores
from tests.support.memory_limits import MemoryLimits
from tests.support.processes import eventually

BUDGET, CONCURRENT, RPM, TPM = "key:a/budget/total", "key:a/concurrent", "key:a/rpm", "key:a/tpm"
LIMITS = {BUDGET: 1000, CONCURRENT: 10, RPM: 100, TPM: 1000}


def claim(row: str, amount: int = 1, limit: int | None = None) -> Claim:
    return Claim(row, LimitKind(row.split("/")[1]), "key:a", LIMITS[row] if limit is None else limit, amount)


def entry(request_id: str) -> LedgerEntry:
    return LedgerEntry(request_id, time.time(), "a", "ann", "", "m", "u")


class ServerInMemory:
    """Counters as a server has them. It can be away; it can lose all that it has."""

    def __init__(self) -> None:
        self.is_away = False
        self.calls = 0
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self._limits = MemoryLimits()
        self._open: set[str] = set()
        self._replayed: set[str] = set()

    def admit(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> Admission:
        self._begin()
        admission = self._limits.admit(Reservation(claims, entry(request_id), tokens), now)
        if admission.refused is None:
            self._open.add(request_id)
        return admission

    def settle(self, request_id: str, charges: Mapping[str, int], now: float) -> None:
        self._begin()
        self._open.discard(request_id)
        self._limits.settle(request_id, charges, None, now)

    def replay(self, settlement: LateSettlement, now: float) -> None:
        self._begin()
        with self._lock:
            if settlement.request_id in self._replayed:
                return
            self._replayed.add(settlement.request_id)
            if settlement.request_id not in self._open and not settlement.is_admitted:
                rows = json.loads(f"[{settlement.claims}]")
                claims = [Claim(row, LimitKind(kind), "", limit, 0) for row, kind, limit, *_ in rows]
                self._limits.admit(Reservation(claims, entry(settlement.request_id), 0), now)
            self.settle(settlement.request_id, settlement.charges, now)

    def renew(self, request_ids: Sequence[str], now: float) -> Sequence[str]:
        self._begin()
        return [one for one in request_ids if one not in self._open]

    def restore(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> None:
        self.admit(request_id, claims, tokens, now)

    def read_used(self, rows: Sequence[str]) -> Mapping[str, int]:
        self._begin()
        return {row: self.used(row) for row in rows}

    def used(self, row: str) -> int:
        most = 10**6
        admission = self._limits.admit(Reservation([claim(row, 0, most)], entry("look"), 0), time.time())
        self._limits.settle("look", {}, None, time.time())
        return most - admission.levels[row].remaining

    def _begin(self) -> None:
        self.calls += 1
        if self.is_away:
            raise StateUnavailable("The limits can't be checked now: away.")


class Host:
    """A worker of a host, and the server that it shares with others."""

    def __init__(self, folder: Path, server: ServerInMemory, rules: FailureRules, **times: float) -> None:
        self.server, self.reports = server, list[str | None]()
        self.kept = KeptSettlements(folder / "host")
        self.ledger = MemoryLimits()
        stores = Stores(server, HostLimits(folder / "host", rules, self.kept), self.kept, self.ledger)
        self.store = SharedLimits(stores, self.reports.append, **{"renew_s": 600.0, "probe_s": 600.0, **times})

    def admit(self, request_id: str, *claims: Claim) -> Admission:
        return self.store.admit(Reservation(claims, entry(request_id), 7), time.time())

    def settle(self, request_id: str, **charges: int) -> None:
        rows = {BUDGET: charges.get("budget", 0), RPM: 1, TPM: charges.get("tpm", 0)}
        self.store.settle(request_id, rows, entry(request_id), time.time())


Start = Callable[..., Host]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Host] = []
    server = ServerInMemory()

    def start_one(name: str = "a", failure: StoreFailure = StoreFailure.LOCAL, **values: float) -> Host:
        rules = FailureRules(failure, failure, int(values.pop("replicas", 1)), values.pop("grace_s", 600.0))
        (tmp_path / name).mkdir(exist_ok=True)
        started.append(Host(tmp_path / name, server, rules, **values))
        return started[-1]

    yield start_one
    for host in started:
        host.store.close()


def test_the_server_counts_and_the_host_writes_down(start: Start) -> None:
    host = start()
    assert host.admit("1", claim(BUDGET, 10), claim(CONCURRENT)).refused is None
    assert host.admit("2", claim(BUDGET, 1000)).refused == claim(BUDGET, 1000)
    host.settle("1", budget=4)
    host.settle("1", budget=4)
    assert (host.server.used(BUDGET), host.server.used(CONCURRENT)) == (4, 0)
    assert list(host.ledger.ledger) == ["1"]


def test_requests_without_limits_ask_no_server(start: Start) -> None:
    host = start()
    host.server.is_away = True
    assert host.admit("1").refused is None
    assert host.store.extend("1", [claim(RPM)], time.time()).refused is None
    host.settle("1")
    assert (host.server.calls, list(host.ledger.ledger), host.store.is_up) == (0, ["1"], True)


def test_more_is_claimed_once(start: Start) -> None:
    host = start()
    host.admit("1", claim(RPM))
    for _ in range(2):
        assert host.store.extend("1", [claim(RPM), claim(BUDGET, 10)], time.time()).refused is None
    assert host.store.extend("1", [claim(BUDGET, 10), claim(TPM, 5000)], time.time()).refused == claim(TPM, 5000)
    assert host.server.used(BUDGET) == 10
    host.settle("1", budget=3)
    assert host.server.used(BUDGET) == 3


def test_the_host_counts_while_the_server_is_away_and_asks_it_no_more(start: Start) -> None:
    host = start()
    host.admit("0", claim(BUDGET, 10), claim(CONCURRENT))
    host.server.is_away = True
    for name in "123":
        assert host.admit(name, claim(BUDGET, 10), claim(CONCURRENT)).refused is None
    assert host.store.extend("1", [claim(TPM, 10)], time.time()).refused is None
    host.settle("0", budget=1)
    host.settle("1", budget=2, tpm=5)
    calls = host.server.calls
    assert host.admit("4", claim(BUDGET, 10)).refused is None
    assert host.server.calls <= calls + 1  # that of the thread
    host.server.is_away = False
    host.store.maintain()
    assert host.store.is_up
    host.settle("2", budget=3)
    host.settle("3", budget=4)
    host.settle("4", budget=5)
    eventually(lambda: host.server.used(BUDGET) == 1 + 2 + 3 + 4 + 5)
    assert host.reports == ["The limits can't be checked now: away.", None]


def test_each_host_has_its_part(start: Start) -> None:
    hosts = [start(name, replicas=2) for name in "ab"]
    for host in hosts:
        host.admit("0", claim(BUDGET, 100))
        host.settle("0", budget=100)
        host.store.maintain()
    hosts[0].server.is_away = True
    for host in hosts:
        passed = [host.admit(f"{number}", claim(BUDGET, 100)).refused is None for number in range(9)]
        assert passed == [True] * 4 + [False] * 5
        assert [host.admit(f"c{number}", claim(CONCURRENT)).refused is None for number in range(6)][-2:] == [
            True,
            False,
        ]
        large = host.admit("large", claim(TPM, 600))
        assert (large.refused, large.retry_after_s) == (claim(TPM, 600), SHARE_RETRY_S)
        assert host.admit("larger", claim(TPM, 1001)).retry_after_s is None
        assert host.admit("none", claim(RPM, 1, 0)).retry_after_s is None


def test_what_was_delivered_is_spent_twice_by_no_one(start: Start) -> None:
    host = start()
    for _ in range(3):
        host.admit("look", claim(BUDGET, 0))
        host.settle("look")
        host.server.is_away = True
        spent = host.server.used(BUDGET)
        for number in range(3):
            assert host.admit(f"{spent}.{number}", claim(BUDGET, 100)).refused is None
            host.settle(f"{spent}.{number}", budget=100)
        left = (1000 - spent) - 300
        assert host.admit("all", claim(BUDGET, left + 1)).refused is not None
        assert host.admit("rest", claim(BUDGET, left)).refused is None
        host.settle("rest")
        host.server.is_away = False
        host.store.maintain()
    assert host.server.used(BUDGET) == 900


def test_a_budget_that_is_not_known_or_too_old_is_refused(start: Start) -> None:
    new, old = start("a"), start("b", grace_s=1e-9)
    old.admit("0", claim(BUDGET, 10))
    new.server.is_away = True
    for host in (new, old):
        assert host.admit("1", claim(RPM)).refused is None
        with pytest.raises(StateUnavailable):
            host.admit("2", claim(BUDGET, 10))


@pytest.mark.parametrize("failure", [StoreFailure.REFUSE, StoreFailure.ALLOW])
def test_requests_are_refused_or_let_through(start: Start, failure: StoreFailure) -> None:
    host = start(failure=failure)
    host.server.is_away = True
    if failure is StoreFailure.REFUSE:
        for name in "12":
            with pytest.raises(StateUnavailable):
                host.admit(name, claim(RPM))
    else:
        for name in "12":
            assert host.admit(name, claim(BUDGET, 5000), claim(RPM, 1000), claim(CONCURRENT)).refused is None
            host.settle(name, budget=5000)
    host.server.is_away = False
    host.store.maintain()
    assert host.server.used(BUDGET) == (0 if failure is StoreFailure.REFUSE else 10_000)


def test_a_server_that_lost_everything_learns_what_runs(start: Start) -> None:
    host = start()
    host.admit("1", claim(CONCURRENT), claim(BUDGET, 10))
    host.server.forget()
    host.store.maintain()
    assert (host.server.used(CONCURRENT), host.server.used(BUDGET)) == (1, 10)


def test_the_thread_renews_and_finds_out_by_itself(start: Start) -> None:
    host = start(renew_s=0.01, probe_s=0.01)
    host.admit("1", claim(CONCURRENT))
    host.server.is_away = True
    eventually(lambda: not host.store.is_up)
    host.server.is_away = False
    eventually(lambda: host.store.is_up)


def test_settlements_outlive_the_process_and_are_kept_in_memory_without_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "host"
    kept = KeptSettlements(folder)
    assert kept.read() == []
    (tmp_path / "disk").write_text("a file in the way")
    first, second = (LateSettlement(name, "", {BUDGET: 3}, is_admitted=False) for name in "12")
    kept.keep(first, 1.0)
    assert kept.read() == [(first, 1.0)]
    (tmp_path / "disk").unlink()
    kept.keep(second, 2.0)
    assert kept.read() == [(second, 2.0), (first, 1.0)]
    kept.close()
    successor = KeptSettlements(folder)
    assert len(successor.read()) == 2
    successor.remove([first, second], 3.0)
    successor.remove([first], 3.0)
    assert (successor.read(), successor.sum_delivered()) == ([], {BUDGET: 6})
    successor.close()
    assert (folder / FILE_NAME).exists()


def test_limits_a_minute_are_forgotten_after_it() -> None:
    late = LateSettlement("1", "", {BUDGET: 3, RPM: 1, TPM: 5}, is_admitted=False)
    assert current_charges(late, 1.0) == late
    assert current_charges(late, 61.0).charges == {BUDGET: 3}
    admitted = LateSettlement("1", "", {RPM: 1}, is_admitted=True)
    assert current_charges(admitted, 61.0) == admitted
