"""From the settings to the counters that replicas share."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from argoproxy.config.shared_stores import RedisSettings
from argoproxy.stores.limit_store import LimitStore
from argoproxy.stores.local.sqlite_ledger import SpentBudget
from argoproxy.stores.redis.host_limits import FailureRules, HostLimits
from argoproxy.stores.redis.kept_settlements import KeptSettlements
from argoproxy.stores.redis.redis_answers import RedisAnswers
from argoproxy.stores.redis.redis_limits import RedisLimits
from argoproxy.stores.redis.server import RedisServer
from argoproxy.stores.redis.shared_limits import SharedLimits, Stores

#: The folder, in that of the state, of what a host counts for itself.
HOST_FOLDER = "host-limits"


@lru_cache(maxsize=8)
def open_shared_limits(settings: RedisSettings, folder: Path, ledger: LimitStore | None) -> SharedLimits:
    """Return the counters of all replicas: the same ones after a reload of the settings."""
    kept = _open_kept(folder / HOST_FOLDER)
    rules = FailureRules(settings.limits, settings.budgets, settings.replicas, settings.grace_s)
    stores = Stores(
        shared=RedisLimits(open_server(settings), settings.prefix),
        host=HostLimits(folder / HOST_FOLDER, rules, kept),
        kept=kept,
        ledger=ledger,
    )
    limits = SharedLimits(stores)
    atexit.register(limits.close)
    return limits


@lru_cache(maxsize=8)
def _open_kept(folder: Path) -> KeptSettlements:
    return KeptSettlements(folder)


@lru_cache(maxsize=8)
def open_shared_answers(settings: RedisSettings) -> RedisAnswers:
    """Return the answers that all replicas keep: the same ones after a reload of the settings."""
    return RedisAnswers(open_server(settings), settings.prefix)


def read_shared_spent(settings: RedisSettings, subject: str, now: float) -> Sequence[SpentBudget]:
    """Return what is used of the budgets of a key or a team by all replicas. Raises StateUnavailable."""
    return RedisLimits(open_server(settings), settings.prefix).read_spent(subject, now)


@lru_cache(maxsize=8)
def open_server(settings: RedisSettings) -> RedisServer:
    """Return the server of these settings, to which all its users in this process share the connections."""
    return RedisServer(settings.url.text, settings.timeout_s)
