"""The section `upstreams:` of the config file: upstreams by name, the first one being the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from argoproxy.config.kinds.anthropic_kind import AnthropicTarget
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.dashscope_kind import DashScopeTarget
from argoproxy.config.kinds.demo_kind import DemoTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.plugin_kind import PluginTarget
from argoproxy.config.kinds.target import Target, UpstreamDefaults, UpstreamSettings
from argoproxy.config.limit_section import read_limited
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import (
    choice_parser,
    is_class_path,
    parse_base_url,
    parse_boolean,
    parse_mapping,
    parse_mode,
    parse_plugin,
    parse_seconds,
    parse_text,
    suggest,
)
from argoproxy.config.resilience import RESILIENCE, read_resilience
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import Secret, is_key_name, secrets_in_header
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.limits.limit_fields import LIMIT_FIELDS
from argoproxy.protocol.routing.modes import Usage
from argoproxy.protocol.routing.route import Credentials
from argoproxy.protocol.routing.timeouts import TimeoutOverrides
from argoproxy.upstreams.access import Access

#: The registry: every kind of upstream there is, the default one first.
KINDS: Mapping[str, type[Target]] = {
    target.kind: target
    for target in (
        OpenAITarget,
        ArgoTarget,
        DashScopeTarget,
        AnthropicTarget,
        DemoTarget,
    )
}
NO_PROXY = "none"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that the transport sets.
_RESERVED_HEADERS = frozenset(("host", "content-length", "transfer-encoding", "connection"))


def parse_headers(value: Any) -> Headers:
    """Parse request headers by name."""
    headers = parse_mapping(value)
    if invalid := [name for name, text in headers.items() if text is None or isinstance(text, dict | list)]:
        raise ValueError(f"needs a text for {invalid[0]!r}")
    pairs = tuple((name.strip(), str(text).strip()) for name, text in headers.items())
    for name, text in pairs:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _RESERVED_HEADERS:
            raise ValueError(f"holds {name!r}, which is not a header that can be set here")
        if not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError(f"holds a character in {name} that headers cannot carry")
    return pairs


def parse_verify(value: Any) -> str | None:
    """Parse how certificates are verified: `true` by the default CAs (None), `false` not at all (""), or by the CA
    bundle at a path."""
    try:
        return None if parse_boolean(value) else ""
    except ValueError:
        if not Path(parse_text(value)).exists():
            raise ValueError("must be true, false or the path of a CA bundle that exists") from None
    return parse_text(value)


def parse_proxy(value: Any) -> str:
    """Parse the URL of a proxy, or `none`."""
    return NO_PROXY if parse_text(value) == NO_PROXY else parse_base_url(value)


def parse_kind(value: Any) -> str:
    """Parse the name of a kind, or of a class."""
    kind = parse_text(value)
    if kind not in KINDS and not is_class_path(kind):
        raise ValueError(f"must be one of {', '.join(KINDS)}, or package.module:Class{suggest(kind, list(KINDS))}")
    return kind


TIMEOUTS: Mapping[str, Parser] = {
    "timeout": parse_seconds,
    "connect_timeout": parse_seconds,
    "first_byte_timeout": parse_seconds,
    "idle_timeout": parse_seconds,
    "total_timeout": parse_seconds,
}
#: Keys of every upstream, whatever its kind.
COMMON_OPTIONS: Mapping[str, Parser] = {
    "kind": parse_kind,
    "client_keys": choice_parser([credentials.value for credentials in Credentials]),
    "headers": parse_headers,
    "auth": parse_plugin,
    "verify": parse_verify,
    "proxy": parse_proxy,
    "inline_images": parse_boolean,
    "mode": parse_mode,
    "ask_usage": parse_boolean,
    **TIMEOUTS,
    **RESILIENCE,
    **LIMIT_FIELDS,
}


def read_upstreams(values: ConfigValues, defaults: UpstreamDefaults) -> tuple[UpstreamSettings, ...]:
    """Read the section; mistakes are added to those of the values."""
    sections = Section.of(values, "upstreams").members()
    return tuple(_read_upstream(section, index, defaults) for index, section in enumerate(sections))


def read_timeouts(options: Mapping[str, Any]) -> TimeoutOverrides:
    """Return the time-outs that an upstream or a rule sets; `timeout` is for first byte and idle."""
    both = options.get("timeout")
    return TimeoutOverrides(
        connect_s=options.get("connect_timeout"),
        first_byte_s=options.get("first_byte_timeout", both),
        idle_s=options.get("idle_timeout", both),
        total_s=options.get("total_timeout"),
        connect_cap_s=both,
    )


def usage_mode(value: bool) -> Usage:  # noqa: FBT001 a setting
    """Return what `ask_usage` means."""
    return Usage.ALWAYS if value else Usage.AS_ASKED


def _read_upstream(section: Section, index: int, defaults: UpstreamDefaults) -> UpstreamSettings:
    if not _NAME.fullmatch(section.name):
        section.mistake("is not a valid name; use letters, digits, dots, dashes and underscores")
    kind = str(section.value_of("kind") or OpenAITarget.kind).strip()
    target_type = _target_type(kind)
    options = section.parse({**COMMON_OPTIONS, **(target_type.options if target_type else _all_options())})
    target = (target_type or DemoTarget).parse(section, options)
    settings = UpstreamSettings(
        name=section.name,
        target=target,
        timeouts=defaults.timeouts.override(read_timeouts(options)),
        access=_read_access(section, options, defaults),
        inline_images=options.get("inline_images", defaults.inlines_images(target)),
        mode=options.get("mode", defaults.mode),
        usage=usage_mode(options["ask_usage"]) if "ask_usage" in options else defaults.usage,
        resilience=defaults.resilience.override(read_resilience(options)),
        limited=read_limited("upstream", section, options),
    )
    return replace(settings, credentials=_credentials(settings, section, options.get("client_keys"), index))


def _target_type(kind: str) -> type[Target] | None:
    return PluginTarget if is_class_path(kind) else KINDS.get(kind)


def _all_options() -> Mapping[str, Parser]:
    """Return the options of all kinds: where the kind is wrong, only that is a mistake."""
    targets: list[type[Target]] = [*KINDS.values(), PluginTarget]
    return {key: parser for target in targets for key, parser in target.options.items()}


def _read_access(section: Section, options: Mapping[str, Any], defaults: UpstreamDefaults) -> Access:
    headers: Headers = options.get("headers", ())
    keys = [text for name, value in headers if is_key_name(name) for text in secrets_in_header(name, value)]
    ca_bundle = options.get("verify", defaults.ca_bundle)
    if ca_bundle == "":
        section.warning("is false: certificates are not verified, so any server may pose as this one", "verify")
    return Access(
        headers=headers,
        keys=tuple(Secret(text) for text in (options.get("api_key"), *keys) if text),
        ca_bundle=ca_bundle,
        proxies=_proxies(options["proxy"]) if "proxy" in options else defaults.proxies,
        auth=options.get("auth"),
    )


def _proxies(url: str) -> Mapping[str, str]:
    return {} if url == NO_PROXY else {"all": url}


def _credentials(settings: UpstreamSettings, section: Section, client_keys: str | None, index: int) -> Credentials:
    """Return what happens to clients' credentials; unless it is set, only the default upstream gets them."""
    if settings.is_keyed:
        if client_keys == Credentials.FORWARDED.value:
            section.mistake("is forward, but the upstream has a key of its own; remove one of them", "client_keys")
        return Credentials.DROPPED
    if not settings.target.takes_credentials:
        return Credentials.FORWARDED
    if client_keys:
        return Credentials(client_keys)
    return Credentials.DROPPED if index else Credentials.FORWARDED
