"""`redis_url`, and what holds while the server can't be used."""

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
