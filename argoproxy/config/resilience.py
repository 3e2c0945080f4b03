"""Settings of what is done when upstreams fail, at the process, at an upstream and at a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.declaration import Parser
from argoproxy.config.values.parsers import parse_seconds_or_zero, parse_text
from argoproxy.config.values.resilience_options import parse_breaker, parse_fallback_on
from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides, ResilienceSettings

#: Keys of every upstream and of every rule.
RESILIENCE: Mapping[str, Parser] = {
    "fallback_on": parse_fallback_on,
    "retry_wait": parse_seconds_or_zero,
    "context_fallback": parse_text,
    "breaker": parse_breaker,
}


def process_resilience(values: ConfigValues) -> ResilienceSettings:
    """Return what holds for upstreams that set nothing else."""
    return ResilienceSettings(
        fallback_on=values["fallback_on"],
        retry_wait_s=values["retry_wait"],
        context_fallback=values["context_fallback"] or "",
        breaker_failures=values["breaker_failures"],
        breaker_open_s=values["breaker_open"],
    )


def read_resilience(options: Mapping[str, Any]) -> ResilienceOverrides:
    """Return what an upstream or a rule sets."""
    return ResilienceOverrides(
        fallback_on=options.get("fallback_on"),
        retry_wait_s=options.get("retry_wait"),
        context_fallback=options.get("context_fallback"),
        breaker_failures=options.get("breaker", {}).get("failures"),
        breaker_open_s=options.get("breaker", {}).get("open"),
    )
