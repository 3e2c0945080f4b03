"""From the settings to what the workers of a host keep: keys, answers, what was used of limits."""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from pathlib import Path
from zoneinfo import ZoneInfo

from argoproxy import __version__
from argoproxy.config.cache import CacheSettings
from argoproxy.config.config import Config
from argoproxy.config.resilience import most_waiting
from argoproxy.config.shared_stores import DatabaseSettings, RedisSettings
from argoproxy.config.values.config_error import ConfigError
from argoproxy.pipeline.accounting.account import Books
from argoproxy.pipeline.accounting.accountant import Accountant
from argoproxy.pipeline.caching.answer_cache import AnswerCache
from argoproxy.pipeline.caching.flights import Flights
from argoproxy.plugins.loader import PluginAuthenticator
from argoproxy.protocol.access.auth import ApiKeys, RequestAuthenticator
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limits import StoreFailure
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.stores.answers.answer_store import AnswerStore
from argoproxy.stores.answers.sqlite_answers import FILE_NAME, SqliteAnswers
from argoproxy.stores.keys.key_admin import ADMIN_ACTOR, KeyAdmin, KeyDesk
from argoproxy.stores.keys.key_ring import AdminAccess, KeyRing
from argoproxy.stores.limit_store import LimitStore
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.postgres.chosen_stores import open_key_store
from argoproxy.stores.postgres.host_task import LastSuccess
from argoproxy.stores.postgres.key_publisher import CHECKED
from argoproxy.stores.postgres.ledger_delivery import DELIVER_S, DELIVERED
from argoproxy.telemetry.slots import FOLDER_VARIABLE
from argoproxy.web.upstream_factory import identify

logger = logging.getLogger("argoproxy")

#: Where limits are counted that need not survive a restart, in the folder that the workers share.
UNKEPT_LIMITS = "limits"


def build_cache(config: Config) -> AnswerCache | None:
    """Return the answers that workers keep, if a rule wants that."""
    if config.cache is None:
        return None
    gateway = [config.gateway] if config.gateway else []
    return AnswerCache(
        store=_open_answer_store(config.cache, config.redis),
        upstreams={settings.name: identify(settings) for settings in (*gateway, *config.upstreams)},
        flights=Flights(most_waiting(config.server)),
        version=__version__,
    )


def build_authenticator(config: Config) -> RequestAuthenticator | None:
    """Return what authenticates callers, None if they need no key. Raises ConfigError if they do and there is none."""
    if config.requires_key and not (config.keys or config.managed):
        raise ConfigError(["keys are required, but none is set; set API_KEY_SECRET"])
    if config.authenticate:
        return PluginAuthenticator(config.authenticate)
    if config.requires_key and config.managed:
        return KeyRing(config.managed.published, config.keys)
    return ApiKeys(config.keys) if config.keys else None


def build_key_desk(config: Config) -> KeyDesk | None:
    """Return what manages keys over HTTP, None if there is no key for it."""
    managed = config.managed
    if managed is None or managed.admin_key is None:
        return None
    return KeyDesk(AdminAccess(managed.admin_key), KeyAdmin(open_key_store(config), ADMIN_ACTOR))


def build_accountant(config: Config) -> Accountant | None:
    """Return what admits and charges requests, None if there are no limits and nothing is written down."""
    if not config.limits_apply:
        return None
    books = Books(
        store=open_limit_store(config),
        # Counters that are shared know themselves what holds while they can't be used.
        settings=replace(config.limits, on_store_failure=StoreFailure.REFUSE) if config.redis else config.limits,
        prices=config.prices,
        keeps_ledger=config.state_folder is not None,
        clock=time.time,
    )
    return Accountant(books, ClaimMaker(BudgetCalendar(_make_local_date(config.limits.zone))))


def open_limit_store(config: Config) -> LimitStore:
    """Return the counters of this host, or those that it shares with others."""
    folder = config.state_folder or _shared_folder()
    if config.redis is None:
        return open_limits(folder)
    from argoproxy.stores.redis.open_redis import open_shared_limits  # noqa: PLC0415 redis-py, only where it is used

    return open_shared_limits(config.redis, folder, open_limits(folder) if config.state_folder else None)


def _open_answer_store(cache: CacheSettings, redis: RedisSettings | None) -> AnswerStore:
    """Return the answers of this host, or those that it shares with others."""
    if cache.folder is not None or redis is None:
        return open_answers(cache.folder or _shared_folder(), cache.max_bytes)
    from argoproxy.stores.redis.open_redis import open_shared_answers  # noqa: PLC0415 redis-py, only where it is used

    return open_shared_answers(redis)


def make_fault_finder(
    config: Config, authenticator: RequestAuthenticator | None, accountant: Accountant | None
) -> Callable[[], str]:
    """Return what tells why this process refuses clients: it knows no keys, or no counters of limits where requests are
    refused without. It returns "" if there is no such reason."""
    finders = [authenticator.find_fault] if isinstance(authenticator, KeyRing) else []
    if accountant and config.redis and config.redis.limits is StoreFailure.REFUSE:
        store = accountant.books.store
        finders.append(lambda: "" if store.is_up else "The limits of all replicas can't be counted.")
    return lambda: next(filter(None, (find() for find in finders)), "")


def build_store_checks(config: Config) -> Mapping[str, Callable[[], bool]]:
    """Return what tells whether the database of all replicas can be used: for keys, and for the ledger. It fails when
    the worker that asks it for this host has had no success for longer than an answer may take."""
    if config.database is None or config.managed is None:
        return {}
    folder, most_s = config.managed.published, 2 * config.database.timeout_s + DELIVER_S
    return {
        name: partial(_is_recent, LastSuccess(folder / file), most_s)
        for name, file in (("keys", CHECKED), ("ledger", DELIVERED))
    }


def _is_recent(last: LastSuccess, most_s: float) -> bool:
    age_s = last.age_s
    return age_s is not None and age_s <= most_s


class DatabaseSharing:
    """What this worker does for its host with the database of all replicas; kept over reloads that leave it alone."""

    def __init__(self, count_dropped: Callable[[str, int], None]) -> None:
        """`count_dropped` is called with the reason why entries of the ledger were lost, and their number."""
        self._count_dropped = count_dropped
        self._settings: tuple[DatabaseSettings | None, Path | None] = (None, None)
        self._stop: Callable[[], None] = lambda: None

    def use(self, config: Config) -> None:
        """Begin to share by these settings, unless that is done; end what others have begun."""
        settings = (config.database, config.state_folder)
        if settings == self._settings:
            return
        self._stop()
        self._settings, self._stop = settings, lambda: None
        if config.database is not None and config.state_folder is not None:
            from argoproxy.stores.postgres.open_postgres import start_sharing  # noqa: PLC0415 psycopg, only where it is used

            self._stop = start_sharing(config, open_limits(config.state_folder), self._count_dropped)


@lru_cache(maxsize=8)
def open_answers(folder: Path, max_bytes: int) -> SqliteAnswers:
    """Return the answers in a folder: the same ones after a reload of the settings."""
    return SqliteAnswers(folder / FILE_NAME, max_bytes)


@lru_cache(maxsize=8)
def open_limits(folder: Path) -> LocalLimits:
    """Return the counters in a folder: the same ones after a reload of the settings. When this process ends, what could
    not be written before is written if it can be."""
    limits = LocalLimits(folder)
    atexit.register(limits.close)
    return limits


@lru_cache(maxsize=1)
def _shared_folder() -> Path:
    """Return a folder that is gone with the server; one of this worker's own if the master could make none."""
    shared = os.environ.get(FOLDER_VARIABLE)
    if not shared:
        logger.warning("code=limits_not_shared: limits are counted in each worker for itself: no folder can be shared")
        return Path(tempfile.mkdtemp(prefix="argoproxy-limits-"))
    folder = Path(shared) / UNKEPT_LIMITS
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _make_local_date(name: str) -> Callable[[float], tuple[int, int, int]]:
    """Return what tells the date of a moment in a time zone."""
    zone: tzinfo = UTC if name == "UTC" else ZoneInfo(name)

    def local_date(moment: float) -> tuple[int, int, int]:
        date = datetime.fromtimestamp(moment, zone)
        return date.year, date.month, date.day

    return local_date
