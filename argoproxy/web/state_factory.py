"""From the settings to what the workers of a host keep: keys, answers."""

from __future__ import annotations

from argoproxy import __version__
from argoproxy.config.config import Config
from argoproxy.config.resilience import most_waiting
from argoproxy.config.values.config_error import ConfigError
from argoproxy.pipeline.caching.answer_cache import AnswerCache
from argoproxy.pipeline.caching.flights import Flights
from argoproxy.plugins.loader import PluginAuthenticator
from argoproxy.protocol.access.auth import ApiKeys, RequestAuthenticator
from argoproxy.stores.answers.sqlite_answers import FILE_NAME, SqliteAnswers
from argoproxy.stores.key_admin import ADMIN_ACTOR, KeyAdmin, KeyDesk
from argoproxy.stores.key_ring import AdminAccess, KeyRing
from argoproxy.stores.sqlite_keys import SqliteKeys
from argoproxy.web.upstream_factory import identify


def build_cache(config: Config) -> AnswerCache | None:
    """Return the answers that workers keep, if a rule wants that."""
    if config.cache is None:
        return None
    gateway = [config.gateway] if config.gateway else []
    return AnswerCache(
        store=SqliteAnswers(config.cache.folder / FILE_NAME, config.cache.max_bytes),
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
        return KeyRing(config.managed.folder, config.keys)
    return ApiKeys(config.keys) if config.keys else None


def build_key_desk(config: Config) -> KeyDesk | None:
    """Return what manages keys over HTTP, None if there is no key for it."""
    managed = config.managed
    if managed is None or managed.admin_key is None:
        return None
    return KeyDesk(AdminAccess(managed.admin_key), KeyAdmin(SqliteKeys(managed.folder), ADMIN_ACTOR))
