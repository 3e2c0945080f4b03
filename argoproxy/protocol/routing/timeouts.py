"""How long an upstream may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TimeoutOverrides:
    """What an upstream or a rule says of time-outs, in seconds; None leaves one as it is. `connect_cap_s` bounds a
    time to connect that nobody has set."""

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None
    connect_cap_s: float | None = None

    def merged_over(self, weaker: TimeoutOverrides) -> TimeoutOverrides:
        """Give what both say together; where both say a thing, this one counts."""
        pairs = ((getattr(self, name), getattr(weaker, name)) for name in TimeoutOverrides.__slots__)
        return TimeoutOverrides(*(before if said is None else said for said, before in pairs))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """After how many seconds of silence a stream gets a comment, 0 for never, and whether before it began, too."""

    every_s: float = 0.0
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, until the first byte, between bytes, and in all; infinite means without end. A time to
    connect that nobody has set is never longer than a time-out for all waits."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 600.0
    total_s: float = math.inf
    is_connect_set: bool = False

    def override(self, overrides: TimeoutOverrides) -> Timeouts:
        """Return the time-outs as an upstream or a rule wants them."""
        if overrides == NO_OVERRIDES:
            return self
        said = {name: getattr(overrides, name) for name in ("connect_s", "first_byte_s", "idle_s", "total_s")}
        new = replace(self, **{name: value for name, value in said.items() if value is not None})
        if overrides.connect_s is not None:
            return replace(new, is_connect_set=True)
        return _cap_connect(new, overrides.connect_cap_s)

    def with_request_timeout(self, timeout_s: float | None) -> Timeouts:
        """Return the time-outs of a request that asked for one itself: it stands for first byte and idle."""
        if timeout_s is None:
            return self
        return _cap_connect(replace(self, first_byte_s=timeout_s, idle_s=timeout_s), timeout_s)


def _cap_connect(timeouts: Timeouts, seconds: float | None) -> Timeouts:
    if timeouts.is_connect_set or seconds is None or timeouts.connect_s <= seconds:
        return timeouts
    return replace(timeouts, connect_s=seconds)


NO_OVERRIDES = TimeoutOverrides()
