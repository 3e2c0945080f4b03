"""A Redis server that fails in every way: what a replica does meanwhile, and that all is exact again then."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.cache.kept_answer import AnswerForm, KeptAnswer
from argoproxy.protocol.limits.limits import Claim, LimitKind, StoreFailure
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.redis.host_limits import FailureRules, HostLimits
from argoproxy.stores.redis.kept_settlements import KeptSettlements
from argoproxy.stores.redis.redis_answers import RedisAnswers
from argoproxy.stores.redis.redis_limits import LateSettlement, RedisLimits, dump_claims
from argoproxy.stores.redis.shared_limits import SharedLimits, Stores
from tests.support.processes import ROOT, eventually
from tests.support.redis_server import MISSING, RealRedis
from tests.support.slow_relay import SlowRelay

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

TIMEOUT_S = 0.5
BUDGET, CONCURRENT, RPM = "key:a/budget/total", "key:a/concurrent", "key:a/rpm"
LIMITS = {RPM: 1000, BUDGET: 1000, CONCURRENT: 100}


def claim(row: str, amount: int, limit: int | None = None) -> Claim:
    return Claim(row, LimitKind(row.split("/")[1]), "key:a", LIMITS[row] if limit is None else limit, amount)


@dataclass
class Server:
    """A Redis server, behind a relay that can hold its answers back."""

    redis: RealRedis
    relay: SlowRelay

    def command(self, *words: str) -> None:
        server = self.redis.server()
        server.execute(*words)
        server.close()

    def used(self, row: str) -> int:
        server = self.redis.server()
        try:
            return RedisLimits(server, "t").read_used([row]).get(row, 0)
        finally:
            server.close()


@dataclass
class Replica:
    """A worker of a host: its store, and what was reported."""

    store: SharedLimits
    reports: list[str | None] = field(default_factory=list)

    def admit(self, request_id: str, *claims: Claim) -> str | None:
        """Return the row that refuses, None if the request is admitted."""
        entry = LedgerEntry(request_id, time.time(), "a", "ann", "", "m", "u")
        refused = self.store.admit(Reservation(claims, entry, 0), entry.at).refused
        return refused.row if refused else None

    def settle(self, request_id: str, cost: int) -> None:
        self.store.settle(request_id, {BUDGET: cost, RPM: 1}, None, time.time())


Start = Callable[..., Replica]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with RealRedis(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always") as redis:
        relay = SlowRelay(redis.port)
        yield Server(redis, relay)
        relay.close()


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Start]:
    """Start replicas, each with a folder of its own unless one is named."""
    server.command("FLUSHALL")
    started: list[SharedLimits] = []
    connections = []

    def start_one(name: str = "", failure: StoreFailure = StoreFailure.LOCAL, **rules: float) -> Replica:
        folder = tmp_path / (name or str(len(started)))
        kept = KeptSettlements(folder)
        connection = server.redis.server(TIMEOUT_S, server.relay.port)
        own = FailureRules(failure, failure, int(rules.get("replicas", 1)), rules.get("grace_s", 600.0))
        stores = Stores(RedisLimits(connection, "t"), HostLimits(folder, own, kept), kept, None)
        reports: list[str | None] = []
        store = SharedLimits(stores, reports.append, renew_s=0.2, probe_s=0.1)
        started.append(store)
        connections.append(connection)
        return Replica(store, reports)

    yield start_one
    for store in started:
        store.close()
    for connection in connections:
        connection.close()


@dataclass(frozen=True)
class Fault:
    name: str
    begin: Callable[[Server], None]
    end: Callable[[Server], None]


def delay(delay_s: float) -> Callable[[Server], None]:
    def change(server: Server) -> None:
        server.relay.delay_s = delay_s

    return change


FAULTS = [
    Fault("frozen", lambda server: server.redis.freeze(), lambda server: server.redis.thaw()),
    Fault("killed", lambda server: server.redis.kill(), lambda server: server.redis.start()),
    Fault(
        "full",
        lambda server: server.command("CONFIG", "SET", "maxmemory", "1"),
        lambda server: server.command("CONFIG", "SET", "maxmemory", "0"),
    ),
    Fault("slow", delay(2 * TIMEOUT_S), delay(0.0)),
    Fault(
        "without EVAL",
        lambda server: server.command("ACL", "SETUSER", "default", "-eval", "-evalsha"),
        lambda server: server.command("ACL", "SETUSER", "default", "+@all"),
    ),
]


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.name)
def fault(request: pytest.FixtureRequest, server: Server) -> Iterator[Fault]:
    one: Fault = request.param
    ended: list[bool] = []

    def end(server: Server) -> None:
        if not ended:
            ended.append(True)
            one.end(server)

    yield Fault(one.name, one.begin, end)
    end(server)


def test_a_replica_counts_for_itself_and_all_is_exact_again(start: Start, server: Server, fault: Fault) -> None:
    replica = start()
    for number in range(3):
        assert replica.admit(f"before{number}", claim(BUDGET, 10), claim(CONCURRENT, 1), claim(RPM, 1)) is None
    replica.settle("before0", 7)
    fault.begin(server)
    begun = time.monotonic()
    for number in range(20):
        assert replica.admit(f"during{number}", claim(BUDGET, 10), claim(CONCURRENT, 1), claim(RPM, 1)) is None
    assert time.monotonic() - begun < 20 * TIMEOUT_S, "one of them waited, not all"
    replica.settle("before1", 5)
    for number in range(10):
        replica.settle(f"during{number}", 3)
    assert not replica.store.is_up
    fault.end(server)
    eventually(lambda: replica.store.is_up)
    for number in range(10, 20):
        replica.settle(f"during{number}", 4)
    replica.settle("before2", 1)
    eventually(lambda: server.used(BUDGET) == 7 + 5 + 10 * 3 + 10 * 4 + 1)
    assert server.used(CONCURRENT) == 0
    (reason, back) = replica.reports
    assert reason
    assert "Redis" in reason
    assert back is None


def test_a_budget_is_never_exceeded(start: Start, server: Server, fault: Fault) -> None:
    replicas = [start(replicas=2) for _ in range(2)]
    for one, name in zip(replicas, "ab", strict=True):
        assert one.admit(name, claim(BUDGET, 100)) is None
        one.settle(name, 100)
    for one in replicas:
        one.store.maintain()  # each knows that 800 are left
    fault.begin(server)
    for number in range(100):
        one = replicas[number % 2]
        if one.admit(str(number), claim(BUDGET, 50)) is None:
            one.settle(str(number), 50)
    fault.end(server)
    eventually(lambda: all(one.store.is_up for one in replicas))
    assert server.used(BUDGET) == 200 + 2 * 400
    assert replicas[0].admit("after", claim(BUDGET, 50)) == BUDGET


@pytest.mark.parametrize("failure", [StoreFailure.REFUSE, StoreFailure.ALLOW])
def test_requests_are_refused_or_let_through(start: Start, server: Server, fault: Fault, failure: StoreFailure) -> None:
    replica = start(failure=failure)
    assert replica.admit("before", claim(BUDGET, 100), claim(CONCURRENT, 1)) is None
    fault.begin(server)
    if failure is StoreFailure.REFUSE:
        for name in ("first", "second"):
            with pytest.raises(StateUnavailable):
                replica.admit(name, claim(BUDGET, 10))
    else:
        for name, amount in (("first", 500), ("second", 1000)):
            assert replica.admit(name, claim(BUDGET, amount)) is None
            replica.settle(name, 400)
    replica.settle("before", 100)
    fault.end(server)
    eventually(lambda: replica.store.is_up)
    assert server.used(BUDGET) == (100 if failure is StoreFailure.REFUSE else 900)
    assert server.used(CONCURRENT) == 0


def test_a_server_that_lost_everything_learns_what_runs(start: Start, server: Server) -> None:
    replica = start()
    assert replica.admit("1", claim(CONCURRENT, 1), claim(BUDGET, 10)) is None
    server.command("FLUSHALL")
    eventually(lambda: server.used(CONCURRENT) == 1)
    replica.settle("1", 4)
    assert (server.used(CONCURRENT), server.used(BUDGET)) == (0, 4)


def test_a_replica_that_is_gone_holds_nothing(start: Start, server: Server) -> None:
    gone, other = start(), start()
    assert gone.admit("1", claim(CONCURRENT, 1, 1), claim(BUDGET, 10)) is None
    assert other.admit("2", claim(CONCURRENT, 1, 1)) == CONCURRENT
    gone.store.close()
    server.command("ZADD", "{t}:open", "1", "1")  # half a minute later
    assert other.admit("3", claim(CONCURRENT, 1, 1)) is None
    assert server.used(BUDGET) == 10


def test_a_host_that_lost_its_connection_is_counted_again(start: Start, server: Server) -> None:
    away, other = start(), start()
    assert away.admit("1", claim(CONCURRENT, 1, 2), claim(BUDGET, 10)) is None
    server.command("ZADD", "{t}:open", "1", "1")
    assert other.admit("2", claim(CONCURRENT, 1, 2)) is None  # the first one counts as abandoned
    eventually(lambda: server.used(CONCURRENT) == 2)  # and is renewed
    away.settle("1", 3)
    assert server.used(BUDGET) == 3
    other.settle("2", 0)
    assert server.used(CONCURRENT) == 0


def test_what_is_kept_is_delivered_by_the_next_process(start: Start, server: Server) -> None:
    replica = start("host")
    assert replica.admit("1", claim(BUDGET, 10)) is None
    server.redis.freeze()
    assert replica.admit("2", claim(BUDGET, 10)) is None
    replica.settle("1", 3)
    replica.settle("2", 4)
    replica.store.close()
    server.redis.thaw()
    successor = start("host")
    assert successor.admit("3", claim(BUDGET, 1)) is None
    successor.settle("3", 0)
    eventually(lambda: server.used(BUDGET) == 7)


def test_budgets_are_refused_after_the_grace_and_where_nothing_is_known(start: Start, server: Server) -> None:
    replica, other = start(grace_s=0.0), start()
    assert replica.admit("1", claim(BUDGET, 10)) is None
    assert other.admit("0", claim(RPM, 1)) is None
    server.redis.freeze()
    try:
        for one in (replica, other):
            with pytest.raises(StateUnavailable):
                one.admit("2", claim(BUDGET, 10))
            assert one.admit("3", claim(RPM, 1)) is None
    finally:
        server.redis.thaw()


def test_the_script_is_sent_again(start: Start, server: Server) -> None:
    replica = start()
    assert replica.admit("1", claim(RPM, 1)) is None
    server.command("SCRIPT", "FLUSH")
    assert replica.admit("2", claim(RPM, 1)) is None
    assert replica.reports == []


def test_the_commands_that_the_page_lists_are_enough(server: Server) -> None:
    page = (ROOT / "docs" / "redis.md").read_text()
    listed = page.partition("Commands that its user needs:")[2].partition("`SCRIPT`")[0]
    commands = re.findall(r"`([A-Z]+)`", listed)
    server.command("ACL", "SETUSER", "u", "on", ">secret", "~{t}:*", "-@all", *(f"+{one.lower()}" for one in commands))
    connection = server.redis.server(user="u:secret@")
    limits, claims = RedisLimits(connection, "t", lease_s=1e-6), [claim(RPM, 1), claim(CONCURRENT, 1), claim(BUDGET, 5)]
    claims.append(Claim("key:a/budget/2026-11", LimitKind.BUDGET, "key:a", 10, 1, time.time() + 60))
    for name in "abc":
        assert limits.admit(name, claims, 1, 0.0).refused is None
    limits.settle("a", {}, 0.0)
    assert limits.renew(["b", "c", "lost"], 0.0) == ["lost"]
    limits.restore("lost", claims, 1, 0.0)
    limits.replay(LateSettlement("late", dump_claims(claims), {BUDGET: 1}, is_admitted=False), 0.0)
    assert limits.read_spent("key:a", time.time())
    answers = RedisAnswers(connection, "t")
    answers.write(b"key", KeptAnswer(AnswerForm.DOCUMENT, b"{}"), 60.0)
    assert answers.read(b"key")
    connection.close()
    server.command("ACL", "DELUSER", "u")
