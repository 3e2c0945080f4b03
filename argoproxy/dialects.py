"""From the description of an upstream to the adapter that speaks to it. Nothing of ours here is more than data."""

from __future__ import annotations

from dataclasses import replace

from argoproxy.own_upstream import OwnUpstream
from argoproxy.settings.targets import (
    ArgoTarget,
    DemoTarget,
    NativeTarget,
    OpenAITarget,
    OwnTarget,
    UntouchedTarget,
    UpstreamSettings,
)
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.argo.gateway import Argo
from argoproxy.upstreams.demo import Demo
from argoproxy.upstreams.native import Native
from argoproxy.upstreams.openai import OpenAI


def adapter(settings: UpstreamSettings) -> Upstream:
    """Make the adapter of an upstream. Raises ConfigError where a class of the operator's own can't be used."""
    target, name = settings.target, settings.name
    if isinstance(target, DemoTarget):
        return Demo(name)
    if isinstance(target, ArgoTarget):
        return Argo(target.urls, target.identity, name=name)
    if isinstance(target, NativeTarget):
        return Native(target.base, name=name, identity=target.identity)
    if isinstance(target, OwnTarget):
        return OwnUpstream(name, target.own)
    if isinstance(target, UntouchedTarget):
        return replace(_openai(target.server, name), is_native=True)
    return _openai(target, name)


def _openai(target: OpenAITarget, name: str) -> OpenAI:
    return OpenAI(target.base, target.authorization.text, target.secret.text.encode(), name)
