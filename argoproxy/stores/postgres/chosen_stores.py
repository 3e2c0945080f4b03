"""Which store of keys and which ledger the settings choose: the files of this host, or a database of all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from argoproxy.config.config import Config
from argoproxy.config.values.config_error import ConfigError
from argoproxy.stores.keys.key_store import KeyStore
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, UsageRow
from argoproxy.stores.local.sqlite_ledger import read_usage as read_host_usage

NO_FOLDER = "no folder of keys is configured: set state_path (STATE_PATH, --state_path DIR)"


def open_key_store(config: Config) -> KeyStore:
    """Return the keys of these settings. Raises ConfigError if they have no place for keys."""
    if config.managed is None:
        raise ConfigError([NO_FOLDER])
    if config.database is None:
        return SqliteKeys(config.managed.folder)
    from argoproxy.stores.postgres.open_postgres import open_shared_keys  # noqa: PLC0415 psycopg, only where it is used

    return open_shared_keys(config.database, config.managed.published)


def read_usage(config: Config, grouping: Grouping, chosen: LedgerFilter, zone: tzinfo) -> Sequence[UsageRow]:
    """Return what requests used, by name; days begin in a zone. Raises StateUnavailable."""
    if config.database is None:
        return read_usage_of_host(config.state_folder, grouping, chosen, zone) if config.state_folder else []
    from argoproxy.stores.postgres.open_postgres import open_shared_ledger  # noqa: PLC0415

    return open_shared_ledger(config.database).read_usage(grouping, chosen, zone)


def read_usage_of_host(folder: Path, grouping: Grouping, chosen: LedgerFilter, zone: tzinfo) -> Sequence[UsageRow]:
    """Return what the ledger of a folder says. Raises StateUnavailable."""
    return read_host_usage(folder, grouping, chosen, lambda at: datetime.fromtimestamp(at, zone).date().isoformat())
