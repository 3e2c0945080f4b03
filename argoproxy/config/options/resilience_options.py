"""Settings of what is done when upstreams fail, with their parsers; settings.py tells how.

Upstreams and rules have the same keys: `argoproxy/config/resilience.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.options.declaration import Parser, setting
from argoproxy.config.options.parsers import (
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
from argoproxy.protocol.resilience.resilience_settings import DEFAULT_QUEUE_SIZE, DEFAULT_QUEUE_WAIT_S

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
_QUEUE: Mapping[str, Parser] = {"size": whole_number_parser(0, 4096), "wait": parse_seconds_or_zero}
_PLACES = whole_number_parser(1, 4096)


def parse_breaker(value: Any) -> dict[str, Any]:
    """Parse `{failures: 3, open: 5s}`, or one of them."""
    return _parse_parts(value, _BREAKER)


def parse_queue(value: Any) -> dict[str, Any]:
    """Parse `{size: 32, wait: 10s}`, or one of them."""
    return _parse_parts(value, _QUEUE)


def parse_max_concurrent(value: Any) -> int:
    """Parse how many requests an upstream gets at once; 0 for `none`, any number."""
    return 0 if str(value).strip() == "none" else _PLACES(value)


def _parse_parts(value: Any, parsers: Mapping[str, Parser]) -> dict[str, Any]:
    parsed = {}
    for name, part in ((str(key), part) for key, part in parse_mapping(value).items()):
        if name not in parsers:
            raise ValueError(f"holds {name!r}, which is not one of {', '.join(parsers)}{suggest(name, list(parsers))}")
        try:
            parsed[name] = parsers[name](part)
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
    max_concurrent: int | None = setting(
        parse_max_concurrent,
        None,
        "Requests that each upstream gets at once, from all workers; any number if unset or none",
        page="full-upstreams.md",
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


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """Requests that wait for an upstream with max_concurrent"""

    section: ClassVar[str] = "queue"

    size: int = setting(
        _QUEUE["size"],
        DEFAULT_QUEUE_SIZE,
        "Requests that may wait for each upstream that has as many as max_concurrent; 0: none",
        page="full-upstreams.md",
    )
    wait: float = setting(
        _QUEUE["wait"], DEFAULT_QUEUE_WAIT_S, "Seconds that each of them waits at most", page="full-upstreams.md"
    )
