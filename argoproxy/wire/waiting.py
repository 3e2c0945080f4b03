"""One request to an upstream and its reply: whom to watch, how long to wait."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from urllib3 import BaseHTTPResponse

from argoproxy.errors import UpstreamTimeout
from argoproxy.protocol.exchange import Headers
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.watch import READABLE, WRITABLE, Watch

#: Bytes may come so fast that we never wait; the client is looked after all the same, once in so many reads.
READS_BETWEEN_LOOKS = 16
#: What the system's clock for waiting can hold, with room to spare.
LONGEST_WAIT_S = 1_000_000.0


class Source(Protocol):
    """The body of a reply on its way."""

    headers: Headers

    @property
    def done(self) -> bool:
        """Whether all of it was taken."""

    def take(self, tick_s: float) -> bytes | None:
        """Give what has arrived, None after tick_s of silence. Raises ProxyError, ClientGone."""

    def close(self) -> None:
        """Give the connection back if it can be used again, else close it."""


class Exchange:
    """One request to an upstream and its reply: whom to watch, how long to wait, what came too early."""

    def __init__(self, watch: Watch, timeouts: Timeouts, url: str) -> None:
        self.url = url
        self.target = "/" + url.partition("://")[2].partition("/")[2]
        self.early = b""
        self.is_cut = False
        self.sends = 0
        #: Whether a connection was made for it, as it must be where a kept one proved stale.
        self.is_fresh = self.must_be_fresh = False
        self.has_received = False
        self.status = 0
        self.source: Source | None = None
        self.body_of: Callable[[BaseHTTPResponse], Source] | None = None
        self._watch = watch
        self._timeouts = timeouts
        self._total_until = time.monotonic() + timeouts.total_s
        self._until = math.inf
        self._reads = 0
        self.expects_progress()
        watch.forget()

    @property
    def was_stale(self) -> bool:
        """Whether a kept connection was of no use: nothing came back on it."""
        return not (self.is_fresh or self.has_received)

    def again(self) -> Exchange:
        """Give the same once more, on a connection of its own; the time there is in all goes on."""
        other = Exchange(self._watch, self._timeouts, self.url)
        other.must_be_fresh, other._total_until = True, self._total_until
        return other

    def expects_head(self) -> None:
        """From now on the time to the first byte runs, however many bytes the head comes in."""
        self._allowed_s, self._code, self._in_head = self._timeouts.first_byte_s, "first_byte_timeout", True
        self._until = math.inf

    def expects_progress(self) -> None:
        """From now on each silence is measured for itself."""
        self._allowed_s, self._code, self._in_head = self._timeouts.idle_s, "idle_timeout", False
        self._until = math.inf

    def progressed(self) -> None:
        """Take note that bytes went or came, which is no reason to go on for ever.

        Raises UpstreamTimeout when all took too long, and ClientGone, now and then, if the client has left.
        """
        if time.monotonic() >= self._total_until:
            raise self._timed_out()
        if not self._in_head:
            self._until = math.inf
        self._reads += 1
        if self._reads >= READS_BETWEEN_LOOKS:
            self._reads = 0
            self._watch.look()

    def wait(self, sock: socket.socket, interest: int = READABLE, tick_s: float = math.inf) -> int:
        """Wait for the socket: its events, 0 after tick_s. Raises ClientGone, UpstreamTimeout."""
        now = time.monotonic()
        self._until = min(self._until, now + min(self._allowed_s, LONGEST_WAIT_S))
        left_s = min(self._until, self._total_until) - now
        events = self._watch.wait(sock, max(0.0, min(left_s, tick_s)), interest) if left_s > 0 else 0
        self._reads = 0
        if not events and left_s <= tick_s:
            raise self._timed_out()
        return events

    def glance(self, sock: socket.socket) -> int:
        """Give the socket's events without waiting. Raises ClientGone."""
        return self._watch.wait(sock, 0, READABLE | WRITABLE)

    def connected(self, begun: float) -> None:
        """Take note that a connection was made, which took since `begun`, a moment of the monotonic clock."""
        self.is_fresh = True
        self._watch.waited_since(begun)

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises ClientGone."""
        self._watch.wait(None, seconds)

    def ends(self) -> None:
        """Stop watching the connection."""
        self._watch.forget()

    def _timed_out(self) -> UpstreamTimeout:
        if self._total_until <= self._until:
            return UpstreamTimeout("The upstream took too long in all.", code="total_timeout")
        if self._in_head:
            return UpstreamTimeout("The upstream did not begin to answer in time.", code=self._code)
        return UpstreamTimeout("The upstream was silent for too long.", code=self._code)


#: The exchange for which a connection is being asked; the way from our adapter through urllib3 to our connections.
in_hand: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
