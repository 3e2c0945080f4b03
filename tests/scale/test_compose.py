"""The set of docker compose, without Docker: its processes run here, with the settings that its file gives them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from argoproxy.config.options.parsers import parse_seconds
from argoproxy.config.values.settings import BY_KEY
from tests.scale.engines import Postgres, find_program, need_package
from tests.scale.replicas import NGINX_FILE, front_nginx
from tests.support.client import chat
from tests.support.processes import ROOT, Proxy, Upstream, eventually
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

FOLDER = ROOT / "deploy" / "compose"
ENVIRON = dotenv_values(FOLDER / "env.example")
REPLICAS = ("replica-1", "replica-2")
#: Variables that are no settings.
OTHER_VARIABLES = {"CONFIG_PATH"}


def interpolate(text: str) -> str:
    """Replace `${NAME:-…}` and `${NAME:?…}` as docker compose does."""
    return re.sub(r"\$\{(\w+):[-?][^}]*\}", lambda found: ENVIRON[found[1]] or "", text)


def services() -> dict[str, Any]:
    document = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    found: dict[str, Any] = document["services"]
    return found


def environ_of(name: str) -> dict[str, str]:
    return {key: interpolate(value) for key, value in services()[name]["environment"].items()}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealRedis]:
    """The server, with the options of its service."""
    (command,) = re.findall(r"exec redis-server (.*)", services()["redis"]["command"][-1])
    options = command.replace('"$$REDIS_PASSWORD"', environ_of("redis")["REDIS_PASSWORD"]).split()
    with RealRedis(tmp_path, *options) as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The address of the database, with the user of its service."""
    need_package("psycopg")
    user = environ_of("postgres")["POSTGRES_USER"]
    for statement in (f"CREATE ROLE {user} LOGIN", f"CREATE DATABASE {user} OWNER {user}"):
        assert subprocess.run([find_program("psql"), "-c", statement, postgres.url], check=False).returncode == 0
    return f"127.0.0.1:{postgres.port}"


@pytest.fixture
def replicas(tmp_path: Path, redis: RealRedis, database: str, upstream: Upstream) -> Iterator[list[Proxy]]:
    """The replicas, with their settings and the config file beside them; only addresses and folders are other ones."""
    started = []
    for name in REPLICAS:
        folder = tmp_path / name
        folder.mkdir()
        config = (FOLDER / "config.yaml").read_text()
        (folder / "config.yaml").write_text(config.replace("http://host.docker.internal:8000", upstream.url))
        environ = environ_of(name) | {"HOST": "127.0.0.1", "CONFIG_PATH": str(folder / "config.yaml"), "WORKERS": "1"}
        environ |= {"STATE_PATH": f"{folder}{environ['STATE_PATH']}"}
        environ["REDIS_URL"] = environ["REDIS_URL"].replace("redis:6379", f"127.0.0.1:{redis.port}")
        environ["DATABASE_URL"] = environ["DATABASE_URL"].replace("postgres:5432", database)
        del environ["PORT"]
        started.append(Proxy(folder, environ))
    yield started
    for proxy in started:
        proxy.stop()


def test_the_set_serves_and_keeps_one_limit(tmp_path: Path, replicas: list[Proxy]) -> None:
    (tmp_path / "nginx").mkdir()
    front = front_nginx(tmp_path / "nginx", [proxy.port for proxy in replicas])
    count = 10
    answers = [chat(front.port) for _ in range(count)]
    front.stop()
    assert {answer.status for answer in answers} == {200}
    eventually(lambda: sum(len(proxy.lines()) for proxy in replicas) == count)
    assert all(proxy.lines() for proxy in replicas), "both serve"
    troubles = ("shared_limits_unavailable", "shared_keys_unavailable", "keys_not_writable", "ledger_not_delivered")
    assert not any(proxy.coded(code) for proxy in replicas for code in troubles)
    limit = int(yaml.safe_load((FOLDER / "config.yaml").read_text())["limits"]["rpm"])
    answer = chat(replicas[0].port)
    assert limit - count - 1 <= int(answer.header("x-ratelimit-remaining-requests")) < limit - 1, (
        "the other's count too"
    )


def test_nginx_knows_the_replicas() -> None:
    listed = re.findall(r"(?m)^\s+server ([\w-]+):(\d+)", NGINX_FILE.read_text())
    assert listed == [(name, environ_of(name)["PORT"]) for name in REPLICAS]
    assert set(services()["nginx"]["depends_on"]) == set(REPLICAS)


@pytest.mark.parametrize("name", REPLICAS)
def test_the_variables_are_settings(name: str) -> None:
    assert set(environ_of(name)) - OTHER_VARIABLES <= {key.upper() for key in BY_KEY}
    assert environ_of(name)["REPLICAS"] == str(len(REPLICAS))


@pytest.mark.parametrize("name", REPLICAS)
def test_a_stop_is_given_the_time_that_it_takes(name: str) -> None:
    environ = environ_of(name)
    stop_s = float(environ["GRACEFUL_TIMEOUT"]) + float(environ.get("DRAIN_DELAY", 0))
    assert parse_seconds(services()[name]["stop_grace_period"]) > stop_s
