"""The section `upstreams:` of the config file: who is behind the proxy, by name; the first one is the default."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from argoproxy.config.kinds.servers import refuse_itself, server_at
from argoproxy.config.kinds.targets import (
    ArgoTarget,
    DashScopeTarget,
    DemoTarget,
    PluginTarget,
    Process,
    Target,
    UntouchedTarget,
    UpstreamSettings,
)
from argoproxy.config.values.layers import Given
from argoproxy.config.values.parsers import (
    base_url,
    boolean,
    header_text,
    is_class_path,
    mapping,
    mode,
    one_of,
    own_class,
    plain_url,
    renamed_models,
    seconds,
    suggestion,
    text,
    user_name,
)
from argoproxy.config.values.section import Reader, Section
from argoproxy.config.values.settings import DEFAULT_TARGET
from argoproxy.protocol.access.secrets import Secret, is_key_name, is_secret_name
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.router import Credentials
from argoproxy.protocol.routing.timeouts import TimeoutOverrides
from argoproxy.upstreams.access import Access, PluginSpec
from argoproxy.upstreams.argo.adapter import ArgoUrls
from argoproxy.upstreams.dashscope.adapter import DashScopeUrls

NO_PROXY = "none"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS_TO_SET = frozenset(("host", "content-length", "transfer-encoding", "connection"))
_SCHEME = re.compile(r"(?:bearer|basic|token)\s+", re.IGNORECASE)


def headers(value: Any) -> Headers:
    """Read headers to send along, by their names. Raises ValueError."""
    given = mapping(value)
    if odd := [name for name, said in given.items() if said is None or isinstance(said, dict | list)]:
        raise ValueError(f"holds no text for {odd[0]!r}")
    pairs = tuple((name.strip(), str(text).strip()) for name, text in given.items())
    for name, said in pairs:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS_TO_SET:
            raise ValueError(f"holds {name!r}, which is no header to be set here")
        if not re.fullmatch(r"[\x20-\x7e]*", said):
            raise ValueError(f"holds a character in {name} that no header can hold")
    return pairs


def trusted(value: Any) -> str | None:
    """Read whom TLS trusts: `true` for whom everybody does (None), `false` for whoever answers (""), or the path of a
    bundle. Raises ValueError."""
    try:
        return None if boolean(value) else ""
    except ValueError:
        if not Path(text(value)).exists():
            raise ValueError("is neither true nor false nor the path of a CA bundle") from None
    return text(value)


def proxy_url(value: Any) -> str:
    """Read the URL of a proxy, or `none`. Raises ValueError."""
    return NO_PROXY if text(value) == NO_PROXY else base_url(value)


def kind_of_upstream(value: Any) -> str:
    """Read a kind. Raises ValueError."""
    kind = text(value)
    if kind not in _OF_KIND and not is_class_path(kind):
        others = ", ".join(_OF_KIND)
        raise ValueError(f"is none of {others} and no package.module:Class{suggestion(kind, list(_OF_KIND))}")
    return kind


TIMEOUTS: Mapping[str, Reader] = {
    "timeout": seconds,
    "connect_timeout": seconds,
    "first_byte_timeout": seconds,
    "idle_timeout": seconds,
    "total_timeout": seconds,
}
_OF_ALL: Mapping[str, Reader] = {
    "kind": kind_of_upstream,
    "client_keys": one_of([credentials.value for credentials in Credentials]),
    "headers": headers,
    "auth": own_class,
    "verify": trusted,
    "proxy": proxy_url,
    "inline_images": boolean,
    "mode": mode,
    "ask_usage": boolean,
    **TIMEOUTS,
}
_SERVER: Mapping[str, Reader] = {"base_url": base_url, "api_key": header_text}
_OF_KIND: Mapping[str, Mapping[str, Reader]] = {
    "openai": {**_SERVER, "native": boolean},
    "argo": {
        "base_url": plain_url,
        "user": user_name,
        "argo_url": plain_url,
        "argo_stream_url": plain_url,
        "argo_embedding_url": plain_url,
    },
    "dashscope": {**_SERVER, "model_map": renamed_models},
    "demo": {},
}
_OF_ONES_OWN: Mapping[str, Reader] = {**_SERVER, "options": mapping}
_OF_ANY_KIND = {key: reader for of_kind in (*_OF_KIND.values(), _OF_ONES_OWN) for key, reader in of_kind.items()}


def read_upstreams(given: Given, process: Process) -> tuple[UpstreamSettings, ...]:
    """Read the section; what is wrong in it is added to the mistakes."""
    sections = list(Section.of(given, "upstreams").members())
    return tuple(_upstream(section, place, given, process) for place, section in enumerate(sections))


def wished_timeouts(read: Mapping[str, Any]) -> TimeoutOverrides:
    """Give the time-outs that an upstream or a rule names; `timeout` is for those of first byte and idle."""
    both = read.get("timeout")
    return TimeoutOverrides(
        connect_s=read.get("connect_timeout"),
        first_byte_s=read.get("first_byte_timeout", both),
        idle_s=read.get("idle_timeout", both),
        total_s=read.get("total_timeout"),
        connect_cap_s=both,
    )


def _upstream(section: Section, place: int, given: Given, process: Process) -> UpstreamSettings:
    if not _NAME.fullmatch(section.name):
        section.mistake("is no name: letters, digits, dots, dashes and underscores make one")
    kind = str(section.value_of("kind") or "openai").strip()
    of_kind = _OF_KIND.get(kind, _OF_ONES_OWN if is_class_path(kind) else _OF_ANY_KIND)
    read = section.read({**_OF_ALL, **of_kind})
    target = _target(section, kind, read, given)
    settings = UpstreamSettings(
        name=section.name,
        target=target,
        timeouts=process.timeouts.override(wished_timeouts(read)),
        access=_access(section, read, process),
        inline_images=read.get("inline_images", process.inlines(target)),
        mode=Mode(read.get("mode", process.mode)),
        usage=usage_of(read["ask_usage"]) if "ask_usage" in read else process.usage,
    )
    return replace(settings, credentials=_credentials(settings, section, read.get("client_keys"), place))


def _target(section: Section, kind: str, read: Mapping[str, Any], given: Given) -> Target:
    if kind == "demo":
        return DemoTarget()
    if kind == "argo":
        return _argo(section, read, given)
    url, key = read.get("base_url"), read.get("api_key")
    if is_class_path(kind):
        beside = {"base_url": url, "api_key": key}
        options = {**read.get("options", {}), **{name: said for name, said in beside.items() if said}}
        return PluginTarget(PluginSpec(kind, options))
    if url is None and not section.is_faulty:
        section.mistake("names no `base_url`")
    url = url or DEFAULT_TARGET
    refuse_itself(url, given)
    if kind == "dashscope":
        return _dashscope(section, url, key or "", read.get("model_map", {}))
    server = server_at(url, key or "")
    return UntouchedTarget(server) if read.get("native") else server


def _dashscope(section: Section, url: str, key: str, model_map: Mapping[str, str]) -> Target:
    try:
        return DashScopeTarget(DashScopeUrls.parse(url), Secret(key), model_map)
    except ValueError as error:
        section.mistake(f"is none of DashScope's: {error}", "base_url")
        return DemoTarget()


def usage_of(is_asked: bool) -> Usage:  # noqa: FBT001 a setting
    """Tell what `ask_usage` means."""
    return Usage.ALWAYS if is_asked else Usage.AS_ASKED


def _argo(section: Section, read: Mapping[str, Any], given: Given) -> ArgoTarget:
    below = ArgoUrls.below(read["base_url"]) if "base_url" in read else ArgoUrls()
    urls = ArgoUrls(
        chat=read.get("argo_url", below.chat),
        stream=read.get("argo_stream_url", below.stream),
        embed=read.get("argo_embedding_url", below.embed),
    )
    for url in dict.fromkeys((urls.chat, urls.stream, urls.embed)):
        refuse_itself(url, given)
    identity = Identity(read.get("user") or given["user"] or "", given["username_passthrough"])
    if not identity.user and not identity.passes_callers:
        section.mistake("names no `user`: the Argo gateway wants your Argonne user name")
    return ArgoTarget(urls, identity)


def _access(section: Section, read: Mapping[str, Any], process: Process) -> Access:
    sent: Headers = read.get("headers", ())
    keys = [read.get("api_key"), *(value for name, value in sent if is_key_name(name))]
    others = [value for name, value in sent if is_secret_name(name) and not is_key_name(name)]
    trusts = read.get("verify", process.ca_bundle)
    if trusts == "":
        section.warning("is false: whoever answers is believed to be the upstream", "verify")
    return Access(
        headers=sent,
        keys=_secrets(keys),
        hidden=_secrets(others),
        ca_bundle=trusts,
        proxies=_proxies(read["proxy"]) if "proxy" in read else process.proxies,
        auth=read.get("auth"),
    )


def _secrets(values: Iterable[str | None]) -> tuple[Secret, ...]:
    return tuple(Secret(_SCHEME.sub("", value)) for value in values if value)


def _proxies(url: str) -> Mapping[str, str]:
    return {} if url == NO_PROXY else {"all": url}


def _credentials(settings: UpstreamSettings, section: Section, wished: str | None, place: int) -> Credentials:
    """Tell what becomes of a client's credentials: only the default upstream gets them unasked."""
    if settings.is_keyed:
        if wished == Credentials.FORWARDED.value:
            section.mistake("asks for the clients' keys beside one of its own", "client_keys")
        return Credentials.DROPPED
    if isinstance(settings.target, ArgoTarget):
        return Credentials.FORWARDED
    if wished:
        return Credentials(wished)
    return Credentials.DROPPED if place else Credentials.FORWARDED
