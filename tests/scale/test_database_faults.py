"""A PostgreSQL server that fails in every way: requests go on, and the ledger is exact again afterwards."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from argoproxy.config.shared_stores import DatabaseSettings
from argoproxy.errors import StateUnavailable
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.key_ring import KeyRing
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.ledger_outbox import LedgerOutbox
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.postgres.host_task import LastSuccess
from argoproxy.stores.postgres.key_follower import KeyFollower
from argoproxy.stores.postgres.key_publisher import KeyPublisher
from argoproxy.stores.postgres.ledger_delivery import LedgerDelivery
from tests.scale.engines import Postgres, need_package
from tests.scale.shared_replica import STATIC, Replica
from tests.support.client import ask as http
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.slow_relay import SlowRelay

need_package("psycopg")
if TYPE_CHECKING:
    from argoproxy.stores.postgres.postgres_keys import PostgresKeys
    from argoproxy.stores.postgres.postgres_server import PostgresServer, PostgresSession

TIMEOUT_S = 2.0


def settings_of(url: str, timeout_s: float = TIMEOUT_S) -> DatabaseSettings:
    return DatabaseSettings(Secret(url), timeout_s, None, 60.0, 1000)


def connect(url: str) -> Any:
    import psycopg  # noqa: PLC0415 where the package is missing, the tests are skipped

    return psycopg.connect(url, autocommit=True)


def server_at(url: str) -> PostgresServer:
    from argoproxy.stores.postgres.postgres_server import PostgresServer  # noqa: PLC0415

    return PostgresServer(settings_of(url))


def session_at(url: str, timeout_s: float = TIMEOUT_S) -> PostgresSession:
    from argoproxy.stores.postgres.postgres_server import PostgresSession  # noqa: PLC0415

    return PostgresSession(settings_of(url, timeout_s))


def keys_at(url: str) -> PostgresKeys:
    from argoproxy.stores.postgres.postgres_keys import PostgresKeys  # noqa: PLC0415

    return PostgresKeys(server_at(url), "")


def ask(url: str, statement: str) -> list[Any]:
    """Return the rows of a statement."""
    with closing(connect(url)) as connection:
        rows: list[Any] = connection.execute(statement).fetchall()
        return rows


def run(url: str, *statements: str) -> None:
    with closing(connect(url)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the server."""
    name = f"db{abs(hash(request.node.name))}"
    run(postgres.url, f"CREATE DATABASE {name}")
    return postgres.url.rpartition("/")[0] + f"/{name}"


class Host:
    """A worker's ledger, and what delivers it."""

    def __init__(self, folder: Path, session: PostgresSession, most_kept: int = 1000) -> None:
        self.limits = LocalLimits(folder)
        delivered = LastSuccess(folder / "delivered")
        self.delivery = LedgerDelivery(
            LedgerOutbox(self.limits), session, most_kept, delivered, lambda _reason, _count: None
        )

    def serve(self, *request_ids: str, model: str = "m") -> None:
        for request_id in request_ids:
            entry = LedgerEntry(request_id, 1e9, "k", "ann", "", model, "up", "complete", 200, 1, 0, 2, 0, 5)
            self.limits.admit(Reservation((), entry, 0), 1e9)
            self.limits.settle(request_id, {}, entry, 1e9)

    def close(self) -> None:
        self.limits.close()
        self.delivery.close()


@pytest.fixture
def host(tmp_path: Path, database: str) -> Iterator[Host]:
    running = Host(tmp_path, session_at(database))
    yield running
    running.close()


def ledger(url: str) -> list[str]:
    return [row[0] for row in ask(url, "SELECT request_id FROM argoproxy_ledger ORDER BY 1")]


def test_replicas_that_start_at_the_same_moment_make_the_tables_once(database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(keys_at(database).create) for _ in range(8)]:
            made.result()
    assert ask(database, "SELECT version FROM argoproxy_schema") == [(1,)]
    assert ask(database, "SELECT count(*) FROM argoproxy_state") == [(1,)]


def test_tables_of_a_newer_version_are_left_alone(database: str) -> None:
    keys_at(database).create()
    run(database, "INSERT INTO argoproxy_schema (version) VALUES (99)")
    with pytest.raises(StateUnavailable, match="newer version"):
        keys_at(database).read()


def test_changes_of_many_hosts_are_all_made(database: str) -> None:
    keys_at(database).create()

    def make(number: int) -> None:
        KeyAdmin(keys_at(database), "test").create(f"key-{number}", {})

    with ThreadPoolExecutor(6) as pool:
        for made in [pool.submit(make, number) for number in range(24)]:
            made.result()
    assert len(keys_at(database).read().keys) == 24
    assert ask(database, "SELECT count(*) FROM argoproxy_audit") == [(24,)]
    assert ask(database, "SELECT generation FROM argoproxy_state") == [(24,)]


@pytest.mark.parametrize("statement", ["UPDATE argoproxy_audit SET actor = ''", "DELETE FROM argoproxy_audit"])
def test_what_was_done_can_not_be_changed(database: str, statement: str) -> None:
    KeyAdmin(keys_at(database), "test").create("bob", {})
    with pytest.raises(Exception, match="audit rows stay"):
        run(database, statement)


def test_an_entry_that_is_delivered_twice_is_one_row(host: Host, tmp_path: Path, database: str) -> None:
    host.serve("a", "b")
    host.delivery.step()
    host.serve("b", "c")
    host.delivery.step()
    assert ledger(database) == ["a", "b", "c"]


def test_a_deadlock_costs_no_entry(host: Host, database: str) -> None:
    """Another program holds a row of the batch, and then wants one that the batch has."""
    keys_at(database).create()
    host.serve("a", "b")
    values = "(request_id, at, key_id, key_name, team, model, upstream, ending, status, is_estimated)"
    insert = f"INSERT INTO argoproxy_ledger {values} VALUES ('{{}}', 0, '', '', '', '', '', '', 200, false)"
    with closing(connect(database)) as other:
        other.execute("BEGIN")
        other.execute(insert.format("b"))
        delivery = threading.Thread(target=host.delivery.step)
        delivery.start()
        eventually(lambda: ask(database, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        with suppress(Exception):  # one of the two is ended; which one is the server's choice
            other.execute(insert.format("a") + " ON CONFLICT DO NOTHING")
        other.execute("ROLLBACK")
        delivery.join()
    host.delivery.step()
    assert ledger(database) == ["a", "b"]


def test_what_no_database_can_hold_stops_no_other_entry(host: Host, database: str) -> None:
    host.serve("nul", model="a\0b")
    host.serve("half", model="\udc80")
    host.limits.write(lambda file: file.execute("UPDATE ledger SET status = 1 << 40 WHERE request_id = 'half'"), 0.0)
    host.serve("whole")
    host.delivery.step()
    assert ledger(database) == ["nul", "whole"]


def test_the_oldest_entries_are_dropped_beyond_the_bound(
    tmp_path: Path, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = session_at("postgresql://user:secret-word@127.0.0.1:1/none")
    host = Host(tmp_path, nowhere, most_kept=5)
    host.serve(*"abcdefghijkl")
    host.delivery.step()
    host.close()
    assert "count=7" in caplog.text
    assert "secret-word" not in caplog.text
    back = Host(tmp_path, session_at(database), most_kept=5)
    back.delivery.step()
    back.close()
    assert ledger(database) == list("hijkl")


def test_keys_are_withdrawn_after_their_grace_and_come_back(tmp_path: Path, postgres: Postgres, database: str) -> None:
    relay = SlowRelay(postgres.port)
    url = database.replace(f":{postgres.port}/", f":{relay.port}/")
    session = session_at(url, 0.5)
    from argoproxy.stores.postgres.postgres_keys import PostgresKeys  # noqa: PLC0415

    keys, publisher = PostgresKeys(session, ""), KeyPublisher(tmp_path / "keys")
    follower = KeyFollower(keys, publisher, 0.01, lambda: None, session.close)
    with closing(follower), closing(relay):
        key = KeyAdmin(keys, "test").create("bob", {})["key"]
        follower.step()
        ring = KeyRing(publisher.folder, [Key("static", Secret("k-static-0123456789"))])
        headers = (("Authorization", f"Bearer {key}"),)
        assert ring.authenticate(headers).name == "bob"
        relay.delay_s = 3.0
        eventually(lambda: follower.step() and ring.find_fault())
        with pytest.raises(StateUnavailable):
            ring.authenticate(headers)
        assert ring.authenticate((("Authorization", "Bearer k-static-0123456789"),)).name == "static"
        relay.delay_s = 0.0
        eventually(lambda: follower.step() and not ring.find_fault())
        assert ring.authenticate(headers).name == "bob"


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    """Killed, with all that is connected."""
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait()
    yield
    server.start()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """All its processes hold still."""
    processes = [server.process.pid, *children_of(server.process.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in processes:
        os.kill(pid, signal.SIGCONT)


def children_of(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(status.parent.name))
    return found


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    run(server.url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    eventually(lambda: ask(server.url, "SHOW default_transaction_read_only") == [("on",)])
    yield
    run(server.url, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@contextmanager
def crowded(server: Postgres) -> Iterator[None]:
    """All connections are taken by others."""
    mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'argoproxy'"
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'argoproxy'"
    with ExitStack() as stack:
        first = stack.enter_context(closing(connect(server.url)))

        def take_all() -> bool:
            first.execute(mine)
            with suppress(Exception):
                while True:
                    stack.enter_context(closing(connect(server.url)))
            return bool(first.execute(left).fetchone() == (0,))

        eventually(take_all)
        yield


Fault = Callable[[Postgres], Any]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    running = Postgres("-c", "max_connections=12", "-c", "superuser_reserved_connections=0")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, own_server: Postgres) -> Iterator[Replica]:
    folder = tmp_path_factory.mktemp("faults") / "replica"
    running = Replica(folder, upstream, own_server.url)
    yield running
    running.proxy.stop()


@pytest.mark.parametrize("fault", [stopped, frozen, read_only, crowded])
def test_requests_go_on_and_the_ledger_is_exact_afterwards(
    replica: Replica, own_server: Postgres, fault: Fault
) -> None:
    model = f"during-{fault.__name__}"
    with fault(own_server):
        notices = len(replica.proxy.coded("ledger_not_delivered"))
        assert {replica.status(STATIC, model=model) for _ in range(20)} == {200}
        eventually(lambda: len(replica.proxy.coded("ledger_not_delivered")) > notices)
        assert {replica.status(STATIC, model=model) for _ in range(20)} == {200}
        assert replica.create_key(f"key-{fault.__name__}") == 503
    eventually(lambda: replica.counted(model) == 40)
    eventually(lambda: replica.create_key(f"key-{fault.__name__}") == 201)


def test_a_host_that_starts_without_the_database(
    tmp_path: Path, upstream: Upstream, own_server: Postgres, replica: Replica
) -> None:
    """One that knows no key yet is not ready, and becomes so by itself; one that does serves at once."""
    with stopped(own_server):
        refused = replica.run("keys", "list")
        assert refused.returncode == 1
        assert "can't be used now" in refused.stderr
        fresh = Replica(tmp_path / "fresh", upstream, own_server.url)
        assert fresh.proxy.coded("keys_not_writable")
        assert http(fresh.proxy.port, "GET", "/health/ready").status == 503
        assert replica.proxy.stop() == 0
        replica.proxy = Proxy(replica.folder, replica.environ)
        assert replica.status(STATIC, model="early") == 200
    eventually(lambda: http(fresh.proxy.port, "GET", "/health/ready").status == 200)
    eventually(lambda: fresh.status(STATIC, model="early") == 200)
    eventually(lambda: fresh.counted("early") == 2)
    fresh.proxy.stop()


def test_metrics_tell_whether_the_database_can_be_used(own_server: Postgres, replica: Replica) -> None:
    def stores() -> dict[str, str]:
        text = http(replica.proxy.port, "GET", "/metrics", Authorization=f"Bearer {STATIC}").body.decode()
        return dict(re.findall(r'(?m)^argoproxy_store_up\{store="(\w+)"\} (\S+)', text))

    eventually(lambda: stores() == {"limits": "1.0", "keys": "1.0", "ledger": "1.0"})
    with stopped(own_server):
        assert replica.status(STATIC) == 200
        eventually(lambda: stores() == {"limits": "1.0", "keys": "0.0", "ledger": "0.0"})
    eventually(lambda: stores() == {"limits": "1.0", "keys": "1.0", "ledger": "1.0"})
