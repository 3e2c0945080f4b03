"""How long a client may take to send."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes a second that a body must bring on the whole, once `body_s` is over.
LEAST_RATE = 500.0


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """Seconds that a client may take: to send a head, to go on with a body, to begin its next request."""

    head_s: float
    body_s: float
    keepalive_s: float

    def body_deadline(self, begun: float, last: float, received: int) -> float:
        """Return when the body is given up, on the clock that told when it began and when its last bytes came."""
        return min(last + self.body_s, begun + self.body_s + received / LEAST_RATE)
