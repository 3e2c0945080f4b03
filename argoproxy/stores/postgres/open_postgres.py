"""From the settings to what replicas keep in a database. A worker calls `share`; commands open what they need."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from argoproxy.config.config import Config
from argoproxy.config.shared_stores import DatabaseSettings
from argoproxy.stores.keys import declared_keys
from argoproxy.stores.keys.key_store import KeyStore
from argoproxy.stores.local.ledger_outbox import LedgerOutbox
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.postgres.host_task import HostTask, LastSuccess
from argoproxy.stores.postgres.key_follower import KeyFollower
from argoproxy.stores.postgres.key_publisher import KeyPublisher
from argoproxy.stores.postgres.ledger_delivery import DELIVERED, LedgerDelivery
from argoproxy.stores.postgres.postgres_keys import PostgresKeys
from argoproxy.stores.postgres.postgres_ledger import PostgresLedger
from argoproxy.stores.postgres.postgres_server import PostgresServer, PostgresSession
from argoproxy.stores.postgres.start_keys import UNDECLARED


def open_shared_keys(settings: DatabaseSettings, folder: Path) -> PostgresKeys:
    """Return the keys of all replicas, which are published in a folder of this host."""
    return PostgresKeys(PostgresServer(settings), _pepper_of(settings), KeyPublisher(folder))


def open_shared_ledger(settings: DatabaseSettings) -> PostgresLedger:
    """Return the ledger of all replicas."""
    return PostgresLedger(PostgresServer(settings))


def start_sharing(config: Config, limits: LocalLimits, count_dropped: Callable[[str, int], None]) -> Callable[[], None]:
    """Start what one worker of the host does for all, following the keys and delivering the ledger, and return what
    stops it. When this process ends, what is left is delivered if it can be; `count_dropped` is called with the
    reason why entries of the ledger were lost, and their number."""
    settings, managed = config.database, config.managed
    if settings is None or managed is None:
        return lambda: None
    folder = managed.published
    session = PostgresSession(settings)
    keys = PostgresKeys(session, _pepper_of(settings))
    declare = partial(_declare, config, keys, folder / UNDECLARED)
    follower = KeyFollower(keys, KeyPublisher(folder), settings.key_grace_s, declare, session.close)
    delivered = LastSuccess(folder / DELIVERED)
    delivery = LedgerDelivery(
        LedgerOutbox(limits), PostgresSession(settings), settings.ledger_backlog, delivered, count_dropped
    )
    tasks = [HostTask(folder / "follower.lock", follower), HostTask(folder / "delivery.lock", delivery)]
    for task in tasks:
        task.start()
        atexit.register(task.finish)

    def stop() -> None:
        for task in tasks:
            atexit.unregister(task.finish)
            task.stop()

    return stop


def _declare(config: Config, keys: KeyStore, marker: Path) -> None:
    """Declare the keys of the config file, if that was not possible at the start. Raises StateUnavailable,
    ConfigError."""
    if marker.exists():
        declared_keys.declare_keys(config, keys, time.time())
        marker.unlink(missing_ok=True)


def _pepper_of(settings: DatabaseSettings) -> str:
    return settings.pepper.text if settings.pepper else ""
