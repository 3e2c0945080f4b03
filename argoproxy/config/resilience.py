"""Settings of what is done when upstreams fail, at the process, at an upstream and at a rule."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_seconds_or_zero, parse_text
from argoproxy.config.options.resilience_options import (
    parse_breaker,
    parse_fallback_on,
    parse_max_concurrent,
    parse_queue,
)
from argoproxy.config.options.server_options import ServerOptions
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides, ResilienceSettings, RuleLimit
from argoproxy.protocol.routing.rules import Rule

#: A greenlet costs little.
MOST_GREENLETS_WAITING = 1000
#: Keys of every upstream and of every rule.
RESILIENCE: Mapping[str, Parser] = {
    "fallback_on": parse_fallback_on,
    "retry_wait": parse_seconds_or_zero,
    "context_fallback": parse_text,
    "breaker": parse_breaker,
    "max_concurrent": parse_max_concurrent,
    "queue": parse_queue,
}


def most_waiting(server: ServerOptions) -> int:
    """Return how many requests of a worker may wait for a place at an upstream: each has a thread, and half of them
    serve others. A sync worker serves one request at a time, so none may wait."""
    return MOST_GREENLETS_WAITING if server.worker_class == "gevent" else _threads(server) // 2


def warn_of_queues(values: ConfigValues, upstreams: Sequence[UpstreamSettings], rules: Iterable[Rule]) -> Iterator[str]:
    """Yield a warning if more requests may wait somewhere than all workers together let wait."""
    server = values.group(ServerOptions)
    workers = server.num_workers if isinstance(server.num_workers, int) else os.cpu_count() or 1
    most = workers * most_waiting(server)
    names = ", ".join(name for name, settings in _find_queues(upstreams, rules) if settings.queue_size > most)
    if names and server.worker_class == "sync":
        yield f"no request waits for a place at {names}, whatever queue.size says: a sync worker serves one at a time"
    elif names:
        share = f"{MOST_GREENLETS_WAITING} in" if server.worker_class == "gevent" else "half of the threads of"
        yield f"queue.size of {names} is never reached: at most {most} requests wait, {share} each worker"


def process_resilience(values: ConfigValues) -> ResilienceSettings:
    """Return what holds for upstreams that set nothing else."""
    return ResilienceSettings(
        fallback_on=values["fallback_on"],
        retry_wait_s=values["retry_wait"],
        context_fallback=values["context_fallback"] or "",
        breaker_failures=values["breaker_failures"],
        breaker_open_s=values["breaker_open"],
        max_concurrent=values["max_concurrent"] or 0,
        queue_size=values["queue_size"],
        queue_wait_s=values["queue_wait"],
    )


def read_resilience(options: Mapping[str, Any]) -> ResilienceOverrides:
    """Return what an upstream or a rule sets."""
    return ResilienceOverrides(
        fallback_on=options.get("fallback_on"),
        retry_wait_s=options.get("retry_wait"),
        context_fallback=options.get("context_fallback"),
        breaker_failures=options.get("breaker", {}).get("failures"),
        breaker_open_s=options.get("breaker", {}).get("open"),
        max_concurrent=options.get("max_concurrent"),
        queue_size=options.get("queue", {}).get("size"),
        queue_wait_s=options.get("queue", {}).get("wait"),
    )


def read_rule_resilience(rule: str, options: Mapping[str, Any]) -> ResilienceOverrides:
    """Return what a rule sets. Its `max_concurrent` is a limit of its own, beside that of the upstream."""
    overrides, limit = read_resilience(options), options.get("max_concurrent")
    return overrides if limit is None else replace(overrides, max_concurrent=None, rule_limit=RuleLimit(rule, limit))


def _find_queues(
    upstreams: Sequence[UpstreamSettings], rules: Iterable[Rule]
) -> Iterator[tuple[str, ResilienceSettings]]:
    """Yield each upstream that gets a limited number of requests, and each rule that says more about that."""
    by_name = {upstream.name: upstream.resilience for upstream in upstreams}
    for name, settings in by_name.items():
        if settings.limits_at(name):
            yield f"upstream {name}", settings
    for rule in rules:
        if rule.resilience.rule_limit or rule.resilience.queue_size is not None:
            merged = ((name, by_name[name].override(rule.resilience)) for name in rule.upstreams or list(by_name)[:1])
            if limited := next((settings for name, settings in merged if settings.limits_at(name)), None):
                yield f"model {rule.name}", limited


def _threads(server: ServerOptions) -> int:
    return 1 if server.worker_class == "sync" else server.threads
