"""Two replicas that share a PostgreSQL database: the same keys, and one ledger."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.engines import PgBouncer, Postgres, need_package
from tests.scale.shared_replica import ADMIN, PASSWORD, STATIC, Replica
from tests.support.client import ask
from tests.support.processes import Proxy, Upstream, eventually

need_package("psycopg")

GROUPINGS = ("key", "team", "model", "upstream", "day")


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, postgres: Postgres
) -> Iterator[tuple[Replica, Replica]]:
    folder = tmp_path_factory.mktemp("database")
    first = Replica(folder / "first", upstream, postgres.url)
    second = Replica(folder / "second", upstream, postgres.url, worker_class="gevent")
    yield first, second
    for replica in (first, second):
        replica.proxy.stop()


def test_a_declared_key_is_one_key_for_all(replicas: tuple[Replica, Replica]) -> None:
    assert [replica.status(STATIC) for replica in replicas] == [200, 200]
    assert len({replica.ask("keys", "show", "ann")["id"] for replica in replicas}) == 1


def test_a_key_that_is_made_changed_and_ended_on_one_host_is_so_on_the_other(
    replicas: tuple[Replica, Replica],
) -> None:
    first, second = replicas
    made = first.ask("keys", "create", "bob")
    key = made["key"]
    assert first.status(key) == 200, "on its own host with the next request"
    eventually(lambda: second.status(key) == 200)
    second.ask("keys", "set", "bob", "--models", "other")
    assert second.status(key) == 403
    eventually(lambda: first.status(key) == 403)
    rotated = first.ask("keys", "rotate", "bob", "--overlap", "0")["key"]
    assert first.status(key) == 401
    eventually(lambda: second.status(key) == 401 and second.status(rotated) == 403)
    second.ask("keys", "disable", "bob")
    eventually(lambda: first.status(rotated) == 401)
    history = [entry["action"] for entry in first.ask("keys", "show", "bob")["history"]]
    assert history == ["disable", "rotate", "set", "create"]


def test_keys_are_managed_over_http(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    headers = {"Authorization": f"Bearer {ADMIN}"}
    made = ask(first.proxy.port, "POST", "/admin/keys", json.dumps({"name": "eve"}).encode(), **headers)
    assert made.status == 201, made.body
    key = json.loads(made.body)["key"]
    eventually(lambda: second.status(key) == 200)
    listed = ask(second.proxy.port, "GET", "/admin/keys", b"", **headers)
    assert {"ann", "eve"} <= {one["name"] for one in json.loads(listed.body)["data"]}


def test_the_ledger_has_the_requests_of_all(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    assert [replica.status(STATIC, model="counted") for replica in (first, second, second)] == [200] * 3
    eventually(lambda: second.counted("counted") == 3)
    assert {"counted": 3}.items() <= {
        row["model"]: row["requests"] for row in first.ask("usage", "--by", "model")
    }.items()
    sums = [sum(row["requests"] for row in first.ask("usage", "--by", by)) for by in GROUPINGS]
    assert len(set(sums)) == 1
    assert "crew" in {row["team"] for row in first.ask("usage", "--by", "team")}
    assert [row["key"] for row in first.ask("usage", "--key", "ann")] == ["ann"]


def test_a_reload_declares_for_all(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    added = "k-fedcba9876543210"
    file = first.folder / "config.yaml"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "key_grace": 100, "keys": {**settings["keys"], "dan": {"key": added}}}))
    first.proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: first.status(added) == 200 and second.status(added) == 200)
    second.ask("keys", "disable", "dan")
    eventually(lambda: first.status(added) == 401)
    assert first.status(STATIC, model="reloaded") == 200
    eventually(lambda: second.counted("reloaded") == 1)


def test_the_password_is_shown_nowhere(replicas: tuple[Replica, Replica]) -> None:
    first, _ = replicas
    shown = first.run("--show")
    assert "database_url" in shown.stdout
    assert PASSWORD not in "".join([shown.stdout, shown.stderr, first.proxy.log(), first.run("doctor").stdout])


def test_a_request_of_a_killed_worker_is_in_the_ledger(
    tmp_path: Path, upstream: Upstream, postgres: Postgres, replicas: tuple[Replica, Replica]
) -> None:
    """Also of a host that is killed whole, when it starts again."""
    killed = Replica(tmp_path / "killed", upstream, postgres.url)
    assert killed.status(STATIC, model="killed") == 200
    killed.kill()
    killed.proxy = Proxy(killed.folder, killed.environ)
    eventually(lambda: replicas[0].counted("killed") == 1)
    killed.proxy.stop()
    shutil.rmtree(killed.folder)


def test_pgbouncer_may_stand_between(tmp_path: Path, upstream: Upstream, postgres: Postgres) -> None:
    """It gives each transaction another connection, so no session has settings, locks or statements of its own."""
    bouncer = PgBouncer(postgres)
    pooled = [Replica(tmp_path / name, upstream, bouncer.url) for name in ("one", "two")]
    first, second = pooled
    made = first.ask("keys", "create", "pooled")["key"]
    for number in range(20):
        first.ask("keys", "set", "pooled", "--models", f"pooled,model-{number}")
    eventually(lambda: second.status(made, model="model-19") == 200)
    assert [replica.status(made, model="pooled") for replica in pooled * 20] == [200] * 40
    eventually(lambda: second.counted("pooled") == 40)
    bouncer.kill()
    assert first.status(made, model="pooled") == 200, "the keys that it knows stay valid"
    bouncer.start()
    eventually(lambda: second.counted("pooled") == 41)
    for replica in pooled:
        replica.proxy.stop()
    bouncer.stop()


def test_entries_that_are_lost_are_counted(tmp_path: Path, upstream: Upstream, postgres: Postgres) -> None:
    bouncer = PgBouncer(postgres)
    replica = Replica(tmp_path / "losing", upstream, bouncer.url, ledger_backlog=1000)

    def dropped() -> dict[str, str]:
        scrape = ask(replica.proxy.port, "GET", "/metrics", b"", Authorization=f"Bearer {STATIC}").body.decode()
        return dict(re.findall(r'(?m)^argoproxy_ledger_entries_dropped_total\{reason="(\w+)"\} (.*)$', scrape))

    eventually(lambda: dropped() == {"backlog": "0.0", "refused": "0.0"})
    bouncer.kill()
    assert [replica.status(STATIC, model="lost") for _ in range(1003)] == [200] * 1003
    eventually(lambda: dropped() == {"backlog": "3.0", "refused": "0.0"})
    bouncer.start()
    eventually(lambda: replica.counted("lost") == 1000)
    replica.proxy.stop()
    bouncer.stop()
