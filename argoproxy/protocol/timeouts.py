"""How long an upstream may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TimeoutWishes:
    """What an upstream or a rule says of time-outs, in seconds; None leaves one as it is."""

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None

    def over(self, weaker: TimeoutWishes) -> TimeoutWishes:
        """Give what both say together; where both say a thing, this one counts."""
        pairs = ((getattr(self, name), getattr(weaker, name)) for name in TimeoutWishes.__slots__)
        return TimeoutWishes(*(before if said is None else said for said, before in pairs))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """After how many seconds of silence a stream gets a comment, 0 for never, and whether before it began, too."""

    every_s: float = 0.0
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, until the first byte, between bytes, and in all; infinite means without end."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 600.0
    total_s: float = math.inf

    def wished(self, wishes: TimeoutWishes) -> Timeouts:
        """Give the time-outs as an upstream or a rule wants them."""
        if wishes == NO_WISHES:
            return self
        said = {name: getattr(wishes, name) for name in TimeoutWishes.__slots__}
        return replace(self, **{name: value for name, value in said.items() if value is not None})

    def asked(self, timeout_s: float | None) -> Timeouts:
        """Give the time-outs of a request that asked for one itself: it stands for first byte and idle."""
        return self if timeout_s is None else replace(self, first_byte_s=timeout_s, idle_s=timeout_s)


NO_WISHES = TimeoutWishes()
