"""Two replicas that share a PostgreSQL database: the same keys, and one ledger."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.scale.engines import Postgres, need_package
from tests.support.client import ask, chat
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment, eventually

need_package("psycopg")

STATIC, ADMIN, PASSWORD = "k-0123456789abcdef", "admin-0123456789abcdef0123456789", "pass-of-the-database"
GROUPINGS = ("key", "team", "model", "upstream", "day")
KEYS = {"ann": {"key": STATIC, "team": "crew"}}


class Replica:
    """A proxy with a state folder of its own; it keeps its port over restarts."""

    def __init__(self, folder: Path, upstream: Upstream, database: str, **settings: Any) -> None:
        folder.mkdir()
        document = {
            "upstreams": {"up": {"base_url": f"{upstream.url}/v1", "api_key": "sk-up"}},
            "state_path": str(folder / "state"),
            "database_url": database.replace("postgres@", f"postgres:{PASSWORD}@"),
            "database_timeout": 2,
            "enable_auth": True,
            "admin_key": ADMIN,
            "keys": KEYS,
            "teams": {"crew": {}},
            **settings,
        }
        self.folder = folder
        self.environ = {"CONFIG_PATH": str(folder / "config.yaml"), "WORKERS": "2"}
        (folder / "config.yaml").write_text(json.dumps(document))
        self.proxy = Proxy(folder, self.environ)

    def status(self, key: str, **body: Any) -> int:
        """Return what a chat with a key is answered with."""
        return chat(self.proxy.port, headers={"Authorization": f"Bearer {key}"}, **body).status

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host of the replica."""
        environ = {**clean_environment(), **self.environ}
        command = [sys.executable, "-m", "argoproxy", *words]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)

    def ask(self, *words: str) -> Any:
        """Return the document that a command prints."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def counted(self, model: str) -> int:
        """Return how many requests for a model the ledger of all replicas has."""
        return sum(row["requests"] for row in self.ask("usage", "--by", "model") if row["model"] == model)

    def kill(self) -> None:
        """Kill all processes of the replica."""
        workers = self.proxy.workers()
        self.proxy.process.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.proxy.process.wait()


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
    sums = [sum(row["requests"] for row in first.ask("usage", "--by", by)) for by in GROUPINGS]
    assert len(set(sums)) == 1
    assert "crew" in {row["team"] for row in first.ask("usage", "--by", "team")}
    assert [row["key"] for row in first.ask("usage", "--key", "ann")] == ["ann"]


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
