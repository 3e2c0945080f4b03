"""From the settings of upstreams to the adapters that speak to them, and the transports that reach them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from argoproxy.config.config import Config
from argoproxy.config.kinds.plugin_kind import PluginTarget
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.pipeline.caching.answer_cache import UpstreamIdentity
from argoproxy.plugins.loader import PluginAuth, add_plugin_folders, configured_plugins
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.access.header_rules import COOKIES_DOWN
from argoproxy.protocol.access.secrets import Secret, credentials_in_body, is_secret_name, secrets_in_options
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.routing.router import Models
from argoproxy.transport.transport import Transport
from argoproxy.upstreams import Upstream


def models_of(config: Config) -> Models[Upstream]:
    """Create all upstreams and the rules that lead to them. Raises ConfigError."""
    if any(configured_plugins(config)):
        add_plugin_folders(config.plugin_folders)
    return Models(
        providers=tuple(map(provider, config.upstreams)),
        rules=config.rules,
        tags=config.tags,
        think_filter=config.thinking.filter,
        opening=config.opening,
        answer_model=config.answer_model,
        default_model=config.default_model,
        allowed=config.allowed,
    )


def provider(settings: UpstreamSettings) -> Provider[Upstream]:
    """Create an upstream, with how it is asked. Raises ConfigError if its plug-in cannot be used."""
    return Provider(
        adapter(settings),
        settings.timeouts,
        settings.credentials,
        settings.is_keyed,
        settings.mode,
        settings.usage,
        settings.resilience,
        settings.limited,
    )


def adapter(settings: UpstreamSettings) -> Upstream:
    """Create the adapter of an upstream. Raises ConfigError if its plug-in cannot be used."""
    if isinstance(settings.target, PluginTarget):
        return PluginUpstream(settings.name, settings.target.spec)
    return settings.target.adapter(settings.name)


def identify(settings: UpstreamSettings) -> UpstreamIdentity:
    """Return what tells the answers of an upstream from those of any other: its server, how it is spoken to, and the
    headers that are set for it. Keys are left out: a new one does not make other answers."""
    target, access = settings.target, settings.access
    options = target.spec.options if isinstance(target, PluginTarget) else {}
    headers = [(name, value) for name, value in access.headers if not is_secret_name(name)]
    parts = (settings.name, target.kind, target, options, headers, access.auth)
    return UpstreamIdentity(repr(parts), settings.is_keyed)


def make_transport(settings: UpstreamSettings, config: Config) -> Transport:
    """Create the transport to an upstream's server. Raises ConfigError if the plug-in that signs requests cannot be
    used."""
    access = replace(settings.access, secrets=(*settings.secrets, *_secrets_in_rules(config)))
    return Transport(
        connections=config.server.threads,
        tick_s=config.heartbeat.every_s or math.inf,
        access=access,
        auth=PluginAuth(f"upstreams.{settings.name}.auth", access.auth) if access.auth else None,
        not_passed=frozenset() if settings.passes_cookies and not config.authenticate else COOKIES_DOWN,
    )


def collect_secrets(config: Config) -> Iterator[str]:
    """Yield every secret of the settings: none of them may appear in the log or the journal."""
    yield from (secret.text for secret in (*(key.secret for key in config.keys), *_secrets_in_rules(config)))
    yield from (secret.text for secret in (config.managed.secrets if config.managed else ()))
    yield from (text for text in (*config.tracing.headers.values(), config.console.token) if text)
    yield from config.redis.secrets if config.redis else ()
    yield from config.database.secrets if config.database else ()
    for upstream in (*config.upstreams, *([config.gateway] if config.gateway else ())):
        yield from (secret.text for secret in upstream.secrets)
    for plugin in configured_plugins(config):
        yield from secrets_in_options(plugin.spec.options)


def _secrets_in_rules(config: Config) -> Iterator[Secret]:
    """Yield the credentials that rules put into the bodies of requests."""
    for rule in config.rules:
        yield from (Secret(text) for values in (rule.params, rule.defaults) for text in credentials_in_body(values))
