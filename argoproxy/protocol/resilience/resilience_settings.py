"""Settings of what is done when upstreams fail: for the process, for an upstream, for a model's rule."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import DEFAULT_FALLBACK_ON
from argoproxy.protocol.resilience.waiting import PlaceLimits, Pool, hash_name

#: The line of those that wait for an upstream that is full, where `queue` is not set.
DEFAULT_QUEUE_SIZE, DEFAULT_QUEUE_WAIT_S = 32, 10.0


@dataclass(frozen=True, slots=True)
class RuleLimit:
    """The `max_concurrent` of a rule, by the rule's name: how many of its requests each of its upstreams gets at once.
    0 for any number."""

    rule: str
    limit: int


@dataclass(frozen=True, slots=True)
class ResilienceOverrides:
    """What an upstream or a rule sets; None keeps a value. The fields are those of ResilienceSettings."""

    fallback_on: tuple[str, ...] | None = None
    retry_wait_s: float | None = None
    context_fallback: str | None = None
    breaker_failures: int | None = None
    breaker_open_s: float | None = None
    max_concurrent: int | None = None
    rule_limit: RuleLimit | None = None
    queue_size: int | None = None
    queue_wait_s: float | None = None

    def merged_over(self, weaker: ResilienceOverrides) -> ResilienceOverrides:
        """Return both as one; where both set a value, this one counts."""
        pairs = ((getattr(self, name), getattr(weaker, name)) for name in _NAMES)
        return ResilienceOverrides(*(theirs if own is None else own for own, theirs in pairs))


@dataclass(frozen=True, slots=True)
class ResilienceSettings:
    """What holds for a route. `fallback_on` are names of kinds and statuses after which the next upstream is tried;
    `retry_wait_s` is the longest wait for an upstream that is rate-limited, if there is no other; `context_fallback`
    the model that gets prompts that are too long, "" for none. The upstream gets `max_concurrent` requests at once (0:
    any number), and of these `rule_limit` of the rule; `queue_size` may wait for that, for `queue_wait_s` each."""

    fallback_on: tuple[str, ...] = DEFAULT_FALLBACK_ON
    retry_wait_s: float = 2.0
    context_fallback: str = ""
    breaker_failures: int = BreakerSettings().failures
    breaker_open_s: float = BreakerSettings().open_s
    max_concurrent: int = 0
    rule_limit: RuleLimit | None = None
    queue_size: int = DEFAULT_QUEUE_SIZE
    queue_wait_s: float = DEFAULT_QUEUE_WAIT_S

    @property
    def breaker(self) -> BreakerSettings:
        """When failures of the route open a circuit."""
        return _make_breaker(self.breaker_failures, self.breaker_open_s)

    def limits_at(self, upstream: str) -> PlaceLimits | None:
        """Return the limits on requests to the upstream of this name; None without any."""
        pools = []
        if self.max_concurrent:
            pools.append(Pool(hash_name(upstream), self.max_concurrent))
        if self.rule_limit and self.rule_limit.limit:
            pools.append(Pool(hash_name(upstream, self.rule_limit.rule), self.rule_limit.limit))
        return PlaceLimits(tuple(pools), self.queue_size, self.queue_wait_s) if pools else None

    def override(self, overrides: ResilienceOverrides) -> ResilienceSettings:
        """Return the settings with those that an upstream or a rule sets."""
        if overrides == NOTHING_SET:
            return self
        values = ((name, getattr(overrides, name)) for name in _NAMES)
        return replace(self, **{name: value for name, value in values if value is not None})


@lru_cache(maxsize=256)
def _make_breaker(failures: int, open_s: float) -> BreakerSettings:
    """Return the settings, made once: every request asks for them."""
    return BreakerSettings(failures, open_s)


_NAMES = tuple(one.name for one in fields(ResilienceOverrides))
NOTHING_SET = ResilienceOverrides()
