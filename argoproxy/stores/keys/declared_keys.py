"""Keys and teams of the config file: the master brings the store to what the file says, at the start and at reloads.

The master forks workers, so nothing of the store stays open in it (SqliteKeys).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from argoproxy.config.config import Config
from argoproxy.config.key_section import KeySettings
from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import ProxyError, StateUnavailable
from argoproxy.protocol.keys.key_changes import Declaration, declare
from argoproxy.protocol.keys.key_record import KeyBook
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import make_origin
from argoproxy.stores.keys.key_store import KeyStore
from argoproxy.stores.keys.sqlite_keys import SqliteKeys

#: How the audit names changes by the config file.
ACTOR = "config"


def with_keys(config: Config) -> Config:
    """Prepare the keys of a proxy that starts or reads its settings again, and return the settings with warnings about
    them. Raises ConfigError."""
    return replace(config, warnings=(*config.warnings, *prepare_keys(config)))


def prepare_keys(config: Config, clock: Callable[[], float] = time.time) -> tuple[str, ...]:
    """Create the folder of keys if there is none, and declare the keys of the file; return warnings. Where the folder
    can't be changed, the keys that were published last stay valid. Raises ConfigError if there are none of these."""
    managed = config.managed
    if managed is None:
        return ()
    store = SqliteKeys(managed.folder)
    try:
        store.create()
        return declare_keys(config, store, clock())
    except StateUnavailable as error:
        return (_explain_unavailable(managed, error),)


def declare_keys(config: Config, store: KeyStore, now: float) -> tuple[str, ...]:
    """Bring a store to what the config file says, and return warnings. Raises ConfigError, StateUnavailable."""
    managed = config.managed
    if managed is None:
        return ()
    try:
        book = store.update(ACTOR, lambda book, pepper: _declare(managed, book, pepper, now))
    except StateUnavailable:
        raise
    except ProxyError as error:
        raise ConfigError([f"keys: {error.message}"]) from None
    return tuple(_warn(config, managed, book))


def _declare(managed: KeySettings, book: KeyBook, pepper: bytes, now: float) -> tuple[KeyBook, KeyBook]:
    declarations = [
        Declaration(
            key.name,
            {**key.attributes, "is_declared": True},
            make_origin(now, pepper),
            key.text.text if key.text else "",
        )
        for key in managed.keys
    ]
    book = declare(book, managed.teams, declarations)
    return book, book


def _explain_unavailable(managed: KeySettings, error: StateUnavailable) -> str:
    """Return a warning if the keys that were published last can be used. Raises ConfigError if not."""
    try:
        key_files.read_pepper(managed.folder)
        key_files.read_snapshot(managed.folder)
    except (OSError, ValueError, StateUnavailable):
        raise ConfigError([f"state_path {str(managed.folder)!r}: {error.message}"]) from None
    return (
        f"code=keys_not_writable: {error.message} The keys that were published last stay valid; the config file's keys"
        " are as they were"
    )


def _warn(config: Config, managed: KeySettings, book: KeyBook) -> Iterator[str]:
    declared = {key.name for key in managed.keys}
    for key in book.keys.values():
        if key.is_declared and key.name not in declared and not key.is_disabled:
            yield (
                f"code=key_not_declared key={key.name}: the config file declared this key before and does not now; it"
                f" stays valid until `argoproxy keys disable {key.name}`"
            )
        elif key.name in declared and not key.secrets:
            yield f"code=key_without_secret key={key.name}: `argoproxy keys rotate {key.name}` gives it a text"
    if not config.requires_key and book.keys:
        yield "there are keys, but requests are served without one: set enable_auth: true"
    elif config.requires_key and not book.keys and not config.keys:
        yield "there is no key yet, so every request is refused: `argoproxy keys create NAME` creates one"
