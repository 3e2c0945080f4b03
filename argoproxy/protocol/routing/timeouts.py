"""Time-outs of requests to upstreams, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TimeoutOverrides:
    """Time-outs that an upstream or a rule sets; None keeps a value. `connect_cap_s` limits a connect time-out that is
    not set itself."""

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None
    connect_cap_s: float | None = None

    def merged_over(self, weaker: TimeoutOverrides) -> TimeoutOverrides:
        """Return both as one; where both set a value, this one counts."""
        pairs = ((getattr(self, name), getattr(weaker, name)) for name in TimeoutOverrides.__slots__)
        return TimeoutOverrides(*(theirs if own is None else own for own, theirs in pairs))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Comments in silent streams: after how many seconds (0: never), and whether before the upstream's reply too."""

    every_s: float = 0.0
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, until the first byte, between bytes and in total; infinity for no limit. A connect time-out
    that is not set itself is never longer than a general time-out."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 600.0
    total_s: float = math.inf
    is_connect_set: bool = False

    def override(self, overrides: TimeoutOverrides) -> Timeouts:
        """Return the time-outs with those that an upstream or a rule sets."""
        if overrides == NO_OVERRIDES:
            return self
        values = {name: getattr(overrides, name) for name in ("connect_s", "first_byte_s", "idle_s", "total_s")}
        new = replace(self, **{name: value for name, value in values.items() if value is not None})
        if overrides.connect_s is not None:
            return replace(new, is_connect_set=True)
        return _cap_connect(new, overrides.connect_cap_s)

    def with_request_timeout(self, timeout_s: float | None) -> Timeouts:
        """Return the time-outs with the one in the request's body, which is for first byte and idle."""
        if timeout_s is None:
            return self
        return _cap_connect(replace(self, first_byte_s=timeout_s, idle_s=timeout_s), timeout_s)


def _cap_connect(timeouts: Timeouts, seconds: float | None) -> Timeouts:
    if timeouts.is_connect_set or seconds is None or timeouts.connect_s <= seconds:
        return timeouts
    return replace(timeouts, connect_s=seconds)


NO_OVERRIDES = TimeoutOverrides()
