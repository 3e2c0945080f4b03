"""What several hosts share: the server in which their limits are counted, and what holds while it can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from argoproxy.config.options.limit_options import ReplicaOptions
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
