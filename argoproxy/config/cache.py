"""Settings of kept answers: `cache` of a rule, and where answers are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import (
    choice_parser,
    parse_boolean,
    parse_mapping,
    parse_seconds_or_zero,
    suggest,
)
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.protocol.cache.cache_policy import DEFAULT_WAIT_S, CachePolicy, CacheScope
from argoproxy.protocol.keys.expiry import parse_duration
from argoproxy.protocol.routing.rules import Rules

#: In place of a mapping: no answers are kept. YAML reads a bare `off` as false.
NEVER = ("none", "off", "False", "false")

_PARSERS: Mapping[str, Parser] = {
    "ttl": parse_duration,
    "scope": choice_parser([str(scope) for scope in CacheScope]),
    "sampling": parse_boolean,
    "length": parse_boolean,
    "wait": parse_seconds_or_zero,
}


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The folder in which answers are kept, and how many bytes they may take there; None if they are kept in the Redis
    server."""

    folder: Path | None
    max_bytes: int


def parse_cache(value: Any) -> CachePolicy:
    """Parse `{ttl: 1h, scope: team}`, a duration, or `none`."""
    if str(value).strip() in NEVER:
        return CachePolicy(0)
    if not isinstance(value, dict):
        return CachePolicy(parse_duration(value))
    parts: dict[str, Any] = {}
    for name, part in ((str(key), part) for key, part in parse_mapping(value).items()):
        if name not in _PARSERS:
            raise ValueError(f"holds {name!r}, which is not one of {', '.join(_PARSERS)}{suggest(name, [*_PARSERS])}")
        try:
            parts[name] = _PARSERS[name](part)
        except ValueError as error:
            raise ValueError(f"holds {name!r}, which {error}") from None
    if "ttl" not in parts:
        raise ValueError("needs `ttl`, how long answers are kept, such as 1h")
    return CachePolicy(
        ttl_s=parts["ttl"],
        scope=CacheScope(parts.get("scope", CacheScope.KEY)),
        with_sampling=parts.get("sampling", False),
        with_length=parts.get("length", False),
        wait_s=parts.get("wait", DEFAULT_WAIT_S),
    )


def read_cache_settings(values: ConfigValues, folder: Path, rules: Rules) -> CacheSettings | None:
    """Return where answers are kept, None if no rule wants that; a mistake is added to those of the values."""
    names = [rule.name for rule in rules if rule.cache and rule.cache.is_on]
    if not names:
        return None
    if values["cache_store"] == "redis":
        if not values["redis_url"]:
            values.mistakes.append(f"{values.place('cache_store')}: cache_store: redis needs redis_url")
        return CacheSettings(None, values["cache_max_bytes"])
    if not values["state_path"]:
        place = values.place("models")
        values.mistakes.append(
            f"{place}: models.{names[0]}.cache needs state_path, the folder in which answers are kept"
        )
        return None
    return CacheSettings(folder / Path(values["state_path"]).expanduser(), values["cache_max_bytes"])
