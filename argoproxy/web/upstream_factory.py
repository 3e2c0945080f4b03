"""From the settings of upstreams to the adapters that speak to them."""

from __future__ import annotations

from argoproxy.config.config import Config
from argoproxy.config.kinds.plugin_kind import PluginTarget
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.plugins.loader import add_plugin_folders, configured_plugins
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.routing.router import Models, Provider
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
    )


def adapter(settings: UpstreamSettings) -> Upstream:
    """Create the adapter of an upstream. Raises ConfigError if its plug-in cannot be used."""
    if isinstance(settings.target, PluginTarget):
        return PluginUpstream(settings.name, settings.target.spec)
    return settings.target.adapter(settings.name)
