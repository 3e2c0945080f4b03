"""From the description of an upstream to the adapter that speaks to it. Nothing of ours here is more than data."""

from __future__ import annotations

from dataclasses import replace

from argoproxy.config.config import Config
from argoproxy.config.kinds.targets import (
    ArgoTarget,
    DashScopeTarget,
    DemoTarget,
    NativeTarget,
    OpenAITarget,
    PluginTarget,
    UntouchedTarget,
    UpstreamSettings,
)
from argoproxy.plugins.loader import add_plugin_folders, configured_plugins
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.routing.router import Models, Provider
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.argo.adapter import ArgoNativeUpstream, ArgoUpstream
from argoproxy.upstreams.dashscope.adapter import DashScopeUpstream
from argoproxy.upstreams.demo import Demo
from argoproxy.upstreams.openai import OpenAIUpstream


def models_of(config: Config) -> Models[Upstream]:
    """Make all upstreams and the rules that lead to them. Raises ConfigError."""
    if any(configured_plugins(config)):
        add_plugin_folders(config.class_folders)
    return Models(
        providers=tuple(map(provider, config.upstreams)),
        rules=config.rules,
        tags=config.tags,
        think_filter=config.think_filter,
        opening=config.opening,
        answer_model=config.answer_model,
        default_model=config.default_model,
        allowed=config.allowed,
    )


def provider(settings: UpstreamSettings) -> Provider[Upstream]:
    """Make an upstream, and say how it is asked. Raises ConfigError."""
    return Provider(
        adapter(settings),
        settings.timeouts,
        settings.credentials,
        settings.is_keyed,
        settings.mode,
        settings.usage,
    )


def adapter(settings: UpstreamSettings) -> Upstream:
    """Make the adapter of an upstream. Raises ConfigError where a class of the operator's own can't be used."""
    target, name = settings.target, settings.name
    if isinstance(target, DemoTarget):
        return Demo(name)
    if isinstance(target, ArgoTarget):
        return ArgoUpstream(target.urls, target.identity, name=name)
    if isinstance(target, NativeTarget):
        return ArgoNativeUpstream(target.base, name=name, identity=target.identity)
    if isinstance(target, DashScopeTarget):
        key = target.secret.text
        return DashScopeUpstream(target.urls, f"Bearer {key}" if key else "", key.encode(), target.model_map, name)
    if isinstance(target, PluginTarget):
        return PluginUpstream(name, target.own)
    if isinstance(target, UntouchedTarget):
        return replace(_openai(target.server, name), is_passthrough=True)
    return _openai(target, name)


def _openai(target: OpenAITarget, name: str) -> OpenAIUpstream:
    return OpenAIUpstream(target.base, target.authorization.text, target.secret.text.encode(), name)
