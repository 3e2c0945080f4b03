"""One request to an upstream and its reply: whom to watch, how long to wait."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from urllib3 import BaseHTTPResponse

from argoproxy.errors import ConnectTimeout, UpstreamTimeout
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.dns import Found, Resolver
from argoproxy.transport.parallel import wait_for
from argoproxy.transport.watch import READABLE, WRITABLE, Watch

#: Bytes may come so fast that we never wait; the client is looked after all the same, once in so many reads.
READS_BETWEEN_LOOKS = 16
#: What the system's clock for waiting can hold, with room to spare.
LONGEST_WAIT_S = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What is waited for, and what it is to wait in vain; `begins_anew` tells whether each byte is waited for anew."""

    kind: type[UpstreamTimeout]
    code: str
    message: str
    begins_anew: bool = False


CONNECTING = Phase(ConnectTimeout, "connect_timeout", "No connection to the upstream in time.")
AWAITING = Phase(UpstreamTimeout, "first_byte_timeout", "The upstream did not begin to answer in time.")
PROGRESSING = Phase(UpstreamTimeout, "idle_timeout", "The upstream was silent for too long.", begins_anew=True)


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

    def __init__(self, watch: Watch, timeouts: Timeouts, url: str, names: Resolver) -> None:
        self.url = url
        self.target = "/" + url.partition("://")[2].partition("/")[2]
        self.early = b""
        self.is_cut = False
        self.sends = 0
        #: Whether a connection was made for it, as it must be where a kept one proved stale.
        self.is_fresh = self.must_be_fresh = False
        #: Whether a reply began to arrive: a line, or a part of one that can be a status line. Other bytes at the end
        #: of a kept connection were sent behind the reply before.
        self.has_received = False
        self.status = 0
        self.source: Source | None = None
        self.body_of: Callable[[BaseHTTPResponse], Source] | None = None
        self._watch = watch
        self._timeouts = timeouts
        self._names = names
        self._total_until = time.monotonic() + timeouts.total_s
        self._until = math.inf
        self._reads = 0
        self.expect_progress()
        watch.unregister()

    @property
    def is_stale(self) -> bool:
        """Whether a kept connection was of no use: no reply came back on it."""
        return not (self.is_fresh or self.has_received)

    @property
    def is_begun(self) -> bool:
        """Whether anything of the request may have come to the upstream."""
        return self.sends > 0

    def copy_for_retry(self) -> Exchange:
        """Give the same once more, on a connection of its own; the time there is in all goes on."""
        other = Exchange(self._watch, self._timeouts, self.url, self._names)
        other.must_be_fresh, other._total_until = True, self._total_until
        return other

    def expect_connection(self) -> None:
        """From now on the time to connect runs, for a connection of its own: its name, its address, TLS."""
        self.is_fresh = True
        self._expects(CONNECTING, self._timeouts.connect_s)

    def expect_head(self) -> None:
        """From now on the time to the first byte runs, however many bytes the head comes in."""
        self._expects(AWAITING, self._timeouts.first_byte_s)

    def expect_progress(self) -> None:
        """From now on each silence is measured for itself."""
        self._expects(PROGRESSING, self._timeouts.idle_s)

    def record_progress(self) -> None:
        """Take note that bytes went or came, which is no reason to go on for ever.

        Raises UpstreamTimeout when all took too long, and ClientGone, now and then, if the client has left.
        """
        if time.monotonic() >= self._total_until:
            raise self._timed_out()
        if self._phase.begins_anew:
            self._until = math.inf
        self._reads += 1
        if self._reads >= READS_BETWEEN_LOOKS:
            self._reads = 0
            self._watch.check_client()

    @property
    def left_s(self) -> float:
        """How long may be waited now."""
        now = time.monotonic()
        self._until = min(self._until, now + min(self._allowed_s, LONGEST_WAIT_S))
        return min(self._until, self._total_until) - now

    def wait(self, sock: socket.socket, interest: int = READABLE, tick_s: float = math.inf) -> int:
        """Wait for the socket: its events, 0 after tick_s. Raises ClientGone, UpstreamTimeout."""
        left_s = self.left_s
        events = self._watch.wait(sock, max(0.0, min(left_s, tick_s)), interest) if left_s > 0 else 0
        self._reads = 0
        if not events and left_s <= tick_s:
            raise self._timed_out()
        return events

    def addresses(self, host: str, port: int) -> Sequence[Found]:
        """Wait for the addresses of a host. Raises OSError, ClientGone, UpstreamTimeout."""
        asked = self._names.ask(host, port)
        wait_for([asked], max(0.0, self.left_s), self._watch)
        if not asked.done():
            raise self._timed_out()
        try:
            return asked.result()
        finally:
            del asked

    def poll_now(self, sock: socket.socket) -> int:
        """Give the socket's events without waiting. Raises ClientGone."""
        return self._watch.wait(sock, 0, READABLE | WRITABLE)

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises ClientGone."""
        self._watch.wait(None, seconds)

    def unregister(self) -> None:
        """Stop watching the connection."""
        self._watch.unregister()

    def _expects(self, phase: Phase, allowed_s: float) -> None:
        self._phase, self._allowed_s, self._until = phase, allowed_s, math.inf

    def _timed_out(self) -> UpstreamTimeout:
        if self._total_until <= self._until:
            return UpstreamTimeout("The upstream took too long in all.", code="total_timeout")
        return self._phase.kind(self._phase.message, code=self._phase.code)


#: The exchange for which a connection is being asked; the way from our adapter through urllib3 to our connections.
current_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
