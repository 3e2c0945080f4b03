"""What is measured of a response on its way to the client: bytes, time to the first byte, time without a byte."""

from __future__ import annotations

from collections.abc import Callable

from argoproxy.transport.watch import Watch

#: A wait for `heartbeat_s` seconds may end this much early by the clock.
_TOLERANCE_S = 0.001


class ResponseMeter:
    """Measures one response; seconds count from its creation, which is the request's arrival."""

    first_byte_s: float | None = None
    #: Seconds until the first byte in which neither the client nor the upstream was waited for.
    overhead_s: float | None = None
    bytes_sent = 0

    def __init__(self, watch: Watch, clock: Callable[[], float], heartbeat_s: float) -> None:
        """`heartbeat_s` is how long a client may be sent nothing; 0 means without a limit."""
        self._watch = watch
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._started = self._last_sent = clock()

    def add_bytes(self, size: int) -> None:
        """Count bytes that are about to be sent."""
        self._last_sent = now = self._clock()
        if self.first_byte_s is None:
            self.first_byte_s = now - self._started
            self.overhead_s = max(0.0, self.first_byte_s - self._watch.waited_s)
        self.bytes_sent += size

    def elapsed_s(self) -> float:
        """Return the seconds since the request arrived."""
        return self._clock() - self._started

    def silent_s(self) -> float:
        """Return the seconds for which nothing was sent."""
        return self._clock() - self._last_sent

    def is_heartbeat_due(self) -> bool:
        """Return whether the client has been sent nothing for too long."""
        return 0 < self._heartbeat_s <= self._clock() - self._last_sent + _TOLERANCE_S

    def until_heartbeat_s(self) -> float:
        """Return the seconds until a heartbeat is due."""
        return max(0.0, self._heartbeat_s - (self._clock() - self._last_sent))
