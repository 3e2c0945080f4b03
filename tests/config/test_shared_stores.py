"""`redis_url` and `database_url`, and what holds while the servers can't be used."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from argoproxy.config.config import Config, build, show
from argoproxy.config.shared_stores import RedisSettings
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import Layer
from argoproxy.protocol.limits.limits import StoreFailure

URL = "redis://:canary-password@redis.internal:6379/0"
HAS_PACKAGE = find_spec("redis") is not None
needs_package = pytest.mark.skipif(not HAS_PACKAGE, reason="the package redis is not installed")


def read(**values: object) -> Config:
    return build([Layer("file", {"target_base_url": "http://u/v1", **values})], {})


def mistakes(**values: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**values)
    return str(caught.value)


def redis_settings(**values: object) -> RedisSettings:
    settings = read(redis_url=URL, **values).redis
    assert settings is not None
    return settings


def test_nothing_is_shared_by_default() -> None:
    config = read()
    assert config.redis is None
    assert config.limits.on_store_failure is StoreFailure.REFUSE


@needs_package
def test_what_holds_while_the_server_cannot_be_used() -> None:
    settings = redis_settings()
    assert (settings.limits, settings.budgets, settings.replicas) == (StoreFailure.LOCAL, StoreFailure.LOCAL, 1)
    settings = redis_settings(on_store_failure="allow", replicas=3)
    assert (settings.limits, settings.budgets, settings.replicas) == (StoreFailure.ALLOW, StoreFailure.ALLOW, 3)
    assert redis_settings(on_store_failure_budgets="refuse").budgets is StoreFailure.REFUSE


@needs_package
def test_a_part_of_how_many_is_asked_for() -> None:
    assert any("without replicas" in warning for warning in read(redis_url=URL).warnings)
    for settings in ({"replicas": 1}, {"on_store_failure": "refuse"}):
        assert not any("replicas" in warning for warning in read(redis_url=URL, **settings).warnings)


@needs_package
def test_a_budget_needs_no_folder() -> None:
    config = read(
        redis_url=URL, limits={"budget": "5/month"}, upstreams={"a": {"base_url": "http://u", "budget": "1/day"}}
    )
    assert config.limits.everyone is not None


@needs_package
def test_the_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"target_base_url: http://u/v1\nredis_url: {URL}\n")
    assert "canary" not in "\n".join(show({}, tmp_path))
    settings = redis_settings()
    assert "canary" not in repr(settings)
    assert "canary-password" in set(settings.secrets)


@pytest.mark.parametrize("key", ["on_store_failure", "on_store_failure_budgets"])
def test_local_needs_a_server(key: str) -> None:
    assert f"{key}: local needs redis_url" in mistakes(**{key: "local"})


@pytest.mark.parametrize(
    "url", ["http://h", "redis://", "redis://h:canary", "redis://h:0", "redis://[canary", "unix://", "h:6379", ""]
)
def test_urls_that_are_none(url: str) -> None:
    found = mistakes(redis_url=url)
    assert "redis_url" in found


@pytest.mark.parametrize("prefix", ["a b", "{a}", "x" * 65])
def test_prefixes_that_are_none(prefix: str) -> None:
    assert "redis_prefix" in mistakes(redis_prefix=prefix)


@pytest.mark.skipif(HAS_PACKAGE, reason="the package redis is installed")
def test_the_package_is_named() -> None:
    assert "pip install 'argoproxy[redis]'" in mistakes(redis_url=URL)


DATABASE = "postgresql://argoproxy:canary-password@postgres.internal/argoproxy?sslmode=require"
HAS_PSYCOPG = find_spec("psycopg") is not None
PEPPER = "0123456789abcdef" * 4


@pytest.mark.skipif(not HAS_PSYCOPG, reason="the package psycopg is not installed")
def test_a_database_of_keys(tmp_path: Path) -> None:
    lines = (f"database_url: {DATABASE}", "state_path: state", f"key_pepper: {PEPPER}", "target_base_url: http://u/v1")
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    shown = "\n".join(show({}, tmp_path))
    assert "canary" not in shown
    assert PEPPER not in shown
    config = read(database_url=DATABASE, state_path="state", key_pepper=PEPPER)
    assert config.database is not None
    assert {"canary-password", PEPPER} <= set(config.database.secrets)
    assert "canary" not in repr(config.database)
    assert config.managed is not None
    assert config.managed.published.parent == config.managed.folder


def test_a_database_needs_a_folder_of_the_host() -> None:
    found = mistakes(database_url=DATABASE)
    assert "database_url needs state_path" in found
    assert "canary" not in found


@pytest.mark.skipif(HAS_PSYCOPG, reason="the package psycopg is installed")
def test_the_package_of_the_database_is_named() -> None:
    assert "pip install 'argoproxy[postgres]'" in mistakes(database_url=DATABASE, state_path="state")


#: Passwords with signs that end a part of a URL.
BROKEN = [f"postgresql://u:{sign}canary{sign}x@h/db" for sign in "/#["]


@pytest.mark.parametrize("url", ["mysql://canary@h", "postgresql:", "h:5432", *BROKEN, ""])
def test_databases_that_are_none(url: str) -> None:
    found = mistakes(database_url=url, state_path="state")
    assert "database_url" in found
    assert "canary" not in found


@pytest.mark.parametrize("pepper", ["0123", "g" * 64, PEPPER + "0"])
def test_peppers_that_are_none(pepper: str) -> None:
    found = mistakes(key_pepper=pepper)
    assert "key_pepper" in found
    assert pepper not in found
