"""Settings of what is done when upstreams fail, with their parsers; settings.py tells how.

Upstreams and rules have the same keys: `argoproxy/config/resilience.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.values.declaration import Parser, setting
from argoproxy.config.values.parsers import (
    parse_mapping,
    parse_names,
    parse_seconds,
    parse_seconds_or_zero,
    parse_text,
    suggest,
    whole_number_parser,
)
from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import DEFAULT_FALLBACK_ON, LISTED_BY_NAME

#: In place of a list: after no failure. YAML reads a bare `off` as false.
NEVER = ("none", "off", "False")


def parse_fallback_on(value: Any) -> tuple[str, ...]:
    """Parse after which failures the next upstream is tried: error statuses and names of kinds, in the order given; an
    empty list or `none` for after none."""
    if value == [] or str(value).strip() in NEVER:
        return ()
    names = tuple(dict.fromkeys(name.lower() for name in parse_names(value)))
    known = [str(kind) for kind in LISTED_BY_NAME]
    for name in names:
        if name not in known and not re.fullmatch(r"[45]\d\d", name):
            others = f"{', '.join(known)}{suggest(name, known)}"
            raise ValueError(f"holds {name!r}, which is neither an error status (400 to 599) nor one of {others}")
    return names


_BREAKER: Mapping[str, Parser] = {"failures": whole_number_parser(1, 1000), "open": parse_seconds}


def parse_breaker(value: Any) -> dict[str, Any]:
    """Parse `{failures: 3, open: 5s}`, or one of them."""
    parsed = {}
    for name, part in ((str(key), part) for key, part in parse_mapping(value).items()):
        if name not in _BREAKER:
            raise ValueError(
                f"holds {name!r}, which is not one of {', '.join(_BREAKER)}{suggest(name, list(_BREAKER))}"
            )
        try:
            parsed[name] = _BREAKER[name](part)
        except ValueError as error:
            raise ValueError(f"holds {name!r}, which {error}") from None
    return parsed


@dataclass(frozen=True, slots=True)
class ResilienceOptions:
    """Failures of upstreams"""

    fallback_on: tuple[str, ...] = setting(
        parse_fallback_on,
        DEFAULT_FALLBACK_ON,
        "After which failures the next upstream of a rule is tried: statuses, connect, timeout, broken, "
        "content_policy; none: after none",
        page="errors.md#spare-upstreams",
    )
    retry_wait: float = setting(
        parse_seconds_or_zero,
        2.0,
        "Longest wait, in seconds, for an upstream that answers 429 with Retry-After, if there is no other; 0: never",
        page="errors.md#spare-upstreams",
    )
    context_fallback: str | None = setting(
        parse_text,
        None,
        "Model that gets requests whose prompt is too long for the model that they name",
        page="errors.md#spare-upstreams",
    )


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When an upstream that fails is left alone"""

    section: ClassVar[str] = "breaker"

    failures: int = setting(
        _BREAKER["failures"],
        BreakerSettings().failures,
        "Failures in a row after which an upstream, or one of its models, is left alone",
        page="errors.md#upstreams-that-are-left-alone",
    )
    open: float = setting(
        parse_seconds,
        BreakerSettings().open_s,
        "Seconds until the next try; twice as many after each one that fails, up to 60",
        page="errors.md#upstreams-that-are-left-alone",
    )
