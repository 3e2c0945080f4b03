"""One request to an upstream and its reply: what every wait for it has in common."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from argoproxy.errors import ConnectTimeout, UpstreamTimeout
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.parallel import wait_for
from argoproxy.transport.watch import READABLE, WRITABLE, Watch

#: Bytes may come so fast that nothing is ever waited for; the client is checked all the same, once in so many reads.
READS_BETWEEN_CHECKS = 16
#: epoll takes milliseconds as a C int; Python raises OverflowError for more.
LONGEST_WAIT_S = 1_000_000.0

#: Family, kind, protocol, canonical name, address: what getaddrinfo returns.
AddressInfo = tuple[int, int, int, str, Any]
#: Starts to resolve a host and a port.
Lookup = Callable[[str, int], Future[Sequence[AddressInfo]]]


@dataclass(frozen=True, slots=True)
class Phase:
    """What is waited for, and the error when it does not come in time."""

    kind: type[UpstreamTimeout]
    code: str
    message: str
    #: Whether the time begins anew with each byte.
    restarts: bool = False


CONNECTING = Phase(ConnectTimeout, "connect_timeout", "The connection to the upstream was not made in time.")
AWAITING = Phase(UpstreamTimeout, "first_byte_timeout", "The upstream did not begin to reply in time.")
PROGRESSING = Phase(UpstreamTimeout, "idle_timeout", "The upstream sent nothing for too long.", restarts=True)


class Source(Protocol):
    """The body of a reply that is being received."""

    headers: Headers

    @property
    def done(self) -> bool:
        """Whether all of it was read."""

    def take(self, tick_s: float) -> bytes | None:
        """Return what has arrived, None after tick_s of silence. Raises ProxyError, ClientGone."""

    def close(self) -> None:
        """Return the connection to the pool if it can be used again, else close it."""


class Exchange:
    """One request to an upstream and its reply: time limits, the watched client, and what arrives too early."""

    def __init__(self, watch: Watch, timeouts: Timeouts, url: str, lookup: Lookup) -> None:
        self.url = url
        self.target = "/" + url.partition("://")[2].partition("/")[2]
        #: Bytes of the reply that came while the request was being sent.
        self.early = b""
        #: Whether the request was not sent to its end, because the reply came first.
        self.is_cut = False
        self.sends = 0
        #: Whether a connection was made for it, and whether one has to be.
        self.is_fresh = self.must_be_fresh = False
        #: Whether a reply began to arrive: a line, or a part of one that can be a status line. Other bytes at the end
        #: of a kept connection were sent behind the reply before.
        self.has_received = False
        self.status = 0
        self.source: Source | None = None
        self._watch = watch
        self._timeouts = timeouts
        self._lookup = lookup
        self._total_until = time.monotonic() + timeouts.total_s
        self._until = math.inf
        self._reads = 0
        self._is_over = False
        self.expect_progress()
        watch.unregister()

    @property
    def is_stale(self) -> bool:
        """Whether no reply came back on a connection that was kept from an earlier request."""
        return not (self.is_fresh or self.has_received)

    @property
    def is_begun(self) -> bool:
        """Whether anything of the request may have reached the upstream."""
        return self.sends > 0

    def copy_for_retry(self) -> Exchange:
        """Return an exchange for the same request on a new connection; the total time goes on."""
        other = Exchange(self._watch, self._timeouts, self.url, self._lookup)
        other.must_be_fresh, other._total_until = True, self._total_until
        return other

    def expect_connection(self) -> None:
        """Apply `connect_s` from now on: to the lookup of the name, the connection and TLS together."""
        self.is_fresh = True
        self._expect(CONNECTING, self._timeouts.connect_s)

    def expect_head(self) -> None:
        """Apply `first_byte_s` from now on: to the whole head, in however many pieces it comes."""
        self._expect(AWAITING, self._timeouts.first_byte_s)

    def expect_progress(self) -> None:
        """Apply `idle_s` from now on, to each silence."""
        self._expect(PROGRESSING, self._timeouts.idle_s)

    def record_progress(self) -> None:
        """Count bytes that were sent or received.

        Raises UpstreamTimeout when the total time is over, and ClientGone, now and then, if the client has left: an
        upstream that always has more bytes would keep us from ever waiting.
        """
        if time.monotonic() >= self._total_until:
            raise self._timed_out()
        if self._phase.restarts:
            self._until = math.inf
        self._reads += 1
        if self._reads >= READS_BETWEEN_CHECKS:
            self._reads = 0
            self._watch.check_client()

    @property
    def left_s(self) -> float:
        """The time that is left for what is waited for; it begins to run when this is first read."""
        now = time.monotonic()
        self._until = min(self._until, now + min(self._allowed_s, LONGEST_WAIT_S))
        return min(self._until, self._total_until) - now

    def wait(self, sock: socket.socket, interest: int = READABLE, tick_s: float = math.inf) -> int:
        """Wait for the socket and return its events, 0 after tick_s. Raises ClientGone, UpstreamTimeout."""
        left_s = self.left_s
        if left_s <= 0 and self._is_over:
            raise self._timed_out()
        # One look when the time is over: on a busy machine this may run later than what it waits for has happened.
        self._is_over = left_s <= 0
        events = self._watch.wait(sock, max(0.0, min(left_s, tick_s)), interest)
        self._reads = 0
        if not events and left_s <= tick_s:
            raise self._timed_out()
        return events

    def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Wait for the addresses of a host. Raises OSError, ClientGone, UpstreamTimeout."""
        future = self._lookup(host, port)
        wait_for([future], max(0.0, self.left_s), self._watch)
        if not future.done():
            raise self._timed_out()
        try:
            return future.result()
        finally:
            del future  # a failure's traceback holds this frame, and the future holds the failure

    def poll_now(self, sock: socket.socket) -> int:
        """Return the socket's events without waiting. Raises ClientGone."""
        return self._watch.wait(sock, 0, READABLE | WRITABLE)

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises ClientGone."""
        self._watch.wait(None, seconds)

    def unregister(self) -> None:
        """Stop watching the connection."""
        self._watch.unregister()

    def _expect(self, phase: Phase, allowed_s: float) -> None:
        self._phase, self._allowed_s, self._until, self._is_over = phase, allowed_s, math.inf, False

    def _timed_out(self) -> UpstreamTimeout:
        if self._total_until <= self._until:
            return UpstreamTimeout("The upstream took too long in total.", code="total_timeout")
        return self._phase.kind(self._phase.message, code=self._phase.code)
