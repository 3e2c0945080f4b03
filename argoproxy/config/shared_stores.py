"""What several hosts share: the server in which their limits are counted, the database of their keys and their ledger,
and what holds while these can't be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from argoproxy.config.options.limit_options import DatabaseOptions, ReplicaOptions
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.protocol.access.secrets import Secret, secrets_in_url
from argoproxy.protocol.limits.limits import StoreFailure

_NO_REPLICAS = (
    "redis_url without replicas: while the server can't be used, each host counts the whole limits for itself"
)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """A Redis server, how it is used, and what holds for limits and budgets while it can't be: then each of the
    `replicas` counts its part, budgets for `grace_s` seconds."""

    url: Secret
    prefix: str
    timeout_s: float
    replicas: int
    limits: StoreFailure
    budgets: StoreFailure
    grace_s: float

    @property
    def secrets(self) -> Iterator[str]:
        """Yield what must not be written down."""
        yield from secrets_in_url(self.url.text)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """A PostgreSQL database, how long it is waited for, and what holds while it can't be used: keys stay valid for
    `key_grace_s` seconds, and the host keeps so many requests for the ledger."""

    url: Secret
    timeout_s: float
    pepper: Secret | None
    key_grace_s: float
    ledger_backlog: int

    @property
    def secrets(self) -> Iterator[str]:
        """Yield what must not be written down."""
        yield from secrets_in_url(self.url.text)
        yield from (self.pepper.text,) if self.pepper else ()


def read_shared_stores(values: ConfigValues) -> Mapping[str, Any]:
    """Return the fields of the Config for what hosts share; mistakes are added to those of the values."""
    return {"redis": read_redis_settings(values), "database": read_database_settings(values)}


def read_database_settings(values: ConfigValues) -> DatabaseSettings | None:
    """Return the settings of the database, None if there is none; mistakes are added to those of the values."""
    group = values.group(DatabaseOptions)
    if group.database_url is None:
        return None
    place = values.place("database_url")
    if not values["state_path"]:
        text = "needs state_path, the folder of what this host has yet to deliver, and of the keys that it knows"
        values.mistakes.append(f"{place}: database_url {text}")
    if find_spec("psycopg") is None:
        values.mistakes.append(f"{place}: database_url needs a package: pip install 'argoproxy[postgres]'")
    return DatabaseSettings(
        url=Secret(group.database_url),
        timeout_s=group.database_timeout,
        pepper=group.key_pepper,
        key_grace_s=group.key_grace,
        ledger_backlog=group.ledger_backlog,
    )


def read_redis_settings(values: ConfigValues) -> RedisSettings | None:
    """Return the settings of the Redis server, None if there is none; mistakes are added to those of the values."""
    group = values.group(ReplicaOptions)
    if group.redis_url is None:
        values.mistakes.extend(_local_without_server(values))
        return None
    if find_spec("redis") is None:
        place = values.place("redis_url")
        values.mistakes.append(f"{place}: redis_url needs a package: pip install 'argoproxy[redis]'")
    limits = StoreFailure(values["on_store_failure"] or StoreFailure.LOCAL)
    budgets = StoreFailure(group.on_store_failure_budgets or limits)
    if StoreFailure.LOCAL in (limits, budgets) and not values.is_set("replicas"):
        values.warnings.append(f"{values.place('redis_url')}: {_NO_REPLICAS}")
    return RedisSettings(
        url=Secret(group.redis_url),
        prefix=group.redis_prefix,
        timeout_s=group.redis_timeout,
        replicas=group.replicas,
        limits=limits,
        budgets=budgets,
        grace_s=group.budget_grace,
    )


def _local_without_server(values: ConfigValues) -> Iterator[str]:
    for key in ("on_store_failure", "on_store_failure_budgets"):
        if values[key] == StoreFailure.LOCAL:
            yield f"{values.place(key)}: {key}: local needs redis_url; without it all counts are those of this host"
