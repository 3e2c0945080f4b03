"""Which upstreams answer: the rows of the table, the strongest that is named."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from argoproxy.config.effective import argo_urls
from argoproxy.config.kinds.servers import refuse_itself, server_at
from argoproxy.config.kinds.targets import (
    ArgoTarget,
    DashScopeTarget,
    DemoTarget,
    NativeTarget,
    Process,
    Target,
    UpstreamSettings,
)
from argoproxy.config.upstreams import read_upstreams
from argoproxy.config.values.layers import BY_KEY, Given
from argoproxy.config.values.parsers import is_placeholder
from argoproxy.config.values.settings import DEFAULT_TARGET
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.router import Credentials
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope.adapter import DashScopeUrls

#: What the path of a URL holds that leads to DashScope in its native protocol.
DASHSCOPE_PATH = "/api/v1/services/aigc/"
#: Rows of the table, strongest first; a row is named by any of its keys.
_ROWS = {
    "demo": ("demo",),
    "upstreams": ("upstreams",),
    "native": ("use_native_openai",),
    "target": ("target_base_url",),
    "argo": ("argo_url", "argo_stream_url", "argo_embedding_url", "argo_base_url"),
}
_NOT_BESIDE_UPSTREAMS = ("target_api_key", "openai_api_key", "model_map")
#: Rows that yield to all others, in whatever layer they are.
_WEAK_ROWS = {"user": ("user",), "openai": ("openai_base_url",)}


def described(given: Given, process: Process) -> tuple[tuple[UpstreamSettings, ...], UpstreamSettings | None]:
    """Describe all upstreams, the default one first, and the Argo gateway where there is one: (upstreams, gateway).
    What is wrong with them is added to the mistakes."""
    target = choose(given)
    if target is None:
        upstreams = read_upstreams(given, process)
        gateways = (upstream for upstream in upstreams if isinstance(upstream.target, ArgoTarget))
        return upstreams, next(gateways, None)
    upstream = _alone(target, process)
    if isinstance(target, NativeTarget) and target.gateway:
        return (upstream,), _alone(target.gateway, process)
    return (upstream,), upstream if isinstance(target, ArgoTarget) else None


def choose(given: Given) -> Target | None:
    """Choose the upstream: a row named in a stronger layer wins, within a layer the earlier row; None where those of
    the `upstreams` section do. What is wrong with it is added to the mistakes."""
    named = {row: _named_by(keys, given) for row, keys in _ROWS.items()}
    rows = sorted((row for row, key in named.items() if key), key=lambda row: given.strength(named[row]))
    named |= {row: _named_by(keys, given) for row, keys in _WEAK_ROWS.items()}
    belongs = {"user": ("argo", "native", "upstreams"), "argo": ("native",)}
    rows += [row for row in _WEAK_ROWS if named[row]]
    losers = [row for row in rows[1:] if rows[0] not in belongs.get(row, ()) and not (row == "user" and named["argo"])]
    for loser in losers:
        given.warnings.append(f"{given.named(named[loser])} is not used: {given.named(named[rows[0]])} is stronger")
    row = rows[0] if rows else "openai"
    if row == "upstreams":
        for key in _NOT_BESIDE_UPSTREAMS:
            if given[key]:
                given.warnings.append(f"{given.named(key)} does not count beside `upstreams`, which say their own")
        return None
    if row == "demo":
        return DemoTarget()
    if row == "native":
        return _native(given)
    return _argo(given) if row in ("argo", "user") else _openai(given, row)


def _alone(target: Target, process: Process) -> UpstreamSettings:
    settings = UpstreamSettings(
        name=target.kind,
        target=target,
        timeouts=process.timeouts,
        access=Access(ca_bundle=process.ca_bundle, proxies=process.proxies),
        inline_images=process.inlines(target),
        mode=process.mode,
        usage=process.usage,
    )
    return replace(settings, credentials=Credentials.DROPPED) if settings.is_keyed else settings


def _named_by(keys: tuple[str, ...], given: Given) -> str:
    """Give the key that names a row, "" when none does."""
    return min((key for key in keys if given.says(key)), key=given.strength, default="")


def _openai(given: Given, row: str) -> Target:
    own_key, other_key = "target_api_key", "openai_api_key"
    if row == "openai":
        own_key, other_key = other_key, own_key
    if given[other_key] and not given[own_key]:
        given.warnings.append(
            f"{given.named(other_key)} is not sent to this upstream; its key is {BY_KEY[own_key].environment}"
        )
    if given[own_key] and is_placeholder(given[own_key]):
        given.mistakes.append(
            f"{given.named(own_key)} is still the placeholder of .env.example: set your key, or take the line away to "
            "have the clients' keys forwarded"
        )
    url = given["target_base_url" if row == "target" else "openai_base_url"] or DEFAULT_TARGET
    refuse_itself(url, given)
    if row == "target" and DASHSCOPE_PATH in urlsplit(url).path + "/":
        return DashScopeTarget(DashScopeUrls.parse(url), Secret(given[own_key] or ""), given["model_map"] or {})
    return server_at(url, given[own_key] or "")


def _argo(given: Given) -> ArgoTarget:
    urls = argo_urls(given)
    for url in dict.fromkeys((urls.chat, urls.stream, urls.embed)):
        refuse_itself(url, given)
    if not given["user"] and not given["username_passthrough"]:
        given.mistakes.append(
            "the Argo gateway wants a user: set `user` in the config file or ARGO_USER to your Argonne user name"
        )
    _leave_keys_out(given)
    return ArgoTarget(urls, _identity(given))


def _native(given: Given) -> Target:
    url = given["native_openai_base_url"]
    refuse_itself(url, given)
    identity = _identity(given)
    is_anyone_known = identity.user or identity.passes_callers
    gateway = _argo(given) if is_anyone_known else None
    if gateway is None:
        _leave_keys_out(given)
    return NativeTarget(BaseUrl.parse(url), identity, gateway)


def _identity(given: Given) -> Identity:
    return Identity(given["user"] or "", given["username_passthrough"])


def _leave_keys_out(given: Given) -> None:
    for key in ("target_api_key", "openai_api_key"):
        if given[key]:
            given.warnings.append(f"{given.named(key)} is not sent to this upstream: Argo takes no key")
