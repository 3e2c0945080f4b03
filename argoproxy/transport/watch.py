"""Wait for the upstream, the client and the clock at once: one epoll per request, in all kinds of workers.

Under gevent it is the original epoll, whose own descriptor gevent waits for: it removes `epoll` from `select`, and its
`poll` ignores POLLRDHUP, by which a client that leaves is seen. A client that closes only its sending half is treated
as gone: the two can't be distinguished before something is written (RFC 9112 section 9.6 allows both).
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from argoproxy.errors import ClientGone, Stopping

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


class Socket(Protocol):
    """An object with a descriptor that can be waited for."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Poller:
    """How this process waits. To be made in the worker, after gevent has patched the standard library."""

    def __init__(self) -> None:
        monkey = sys.modules.get("gevent.monkey")
        self._is_patched = monkey is not None and monkey.is_module_patched("select")
        #: Readable once the process stops. An eventfd, which every epoll holds: a signal handler can write to it, and
        #: it ends all waits in all threads, the later ones too, because it is never read (eventfd(2)).
        self.alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll = monkey.get_original("select", "epoll") if monkey and self._is_patched else select.epoll

    def stop(self) -> None:
        """End all waits with Stopping, also later ones."""
        os.eventfd_write(self.alarm, 1)

    def wait(self, epoll: select.epoll, seconds: float) -> list[tuple[int, int]]:
        """Return (descriptor, events) of what is ready, nothing after `seconds`."""
        if not self._is_patched:
            return epoll.poll(seconds)
        ready = epoll.poll(0)
        if not ready and seconds > 0:
            hub = select.poll()
            hub.register(epoll.fileno(), select.POLLIN)
            ready = epoll.poll(0) if hub.poll(seconds * 1000) else []
        return ready


class Watch:
    """Watches a client and the upstream of its request. `waited_s` is the time that was spent waiting for them."""

    def __init__(self, client: Socket | None, poller: Poller) -> None:
        """Watch only the upstream when client is None."""
        self._poller = poller
        self._client = -1 if client is None else client.fileno()
        self._epoll: select.epoll | None = None
        self._upstream = -1
        self._interest = 0
        self.waited_s = 0.0
        #: Called while something is waited for; returns the seconds until it wants to be called again (heartbeats). May
        #: raise ClientGone.
        self.pulse: Callable[[], float] | None = None

    def wait(self, upstream: Socket | None, seconds: float, interest: int = READABLE) -> int:
        """Return the events of the upstream, 0 after `seconds` without one. Raises ClientGone, Stopping."""
        if self.pulse is None:
            return self._wait(upstream, seconds, interest)
        until = time.monotonic() + seconds
        while True:
            pause_s, left_s = self.pulse(), until - time.monotonic()
            events = self._wait(upstream, max(0.0, min(left_s, pause_s)), interest)
            if events or left_s <= pause_s:
                return events

    def _wait(self, upstream: Socket | None, seconds: float, interest: int) -> int:
        events, begun = 0, time.monotonic()
        ready = self._poller.wait(self._set_for(upstream, interest), seconds)
        self.add_wait_since(begun)
        for descriptor, seen in ready:
            if descriptor == self._client:
                raise ClientGone
            if descriptor == self._poller.alarm:
                raise Stopping("The proxy is stopping.")
            events = seen
        return events

    def add_wait_since(self, begun: float) -> None:
        """Add the time since `begun`, on the monotonic clock, to `waited_s`."""
        self.waited_s += time.monotonic() - begun

    def check_client(self) -> None:
        """Check for the client without waiting. Raises ClientGone."""
        if self._client >= 0:
            self.wait(None, 0)

    def ignore_client(self) -> None:
        """Stop watching the client: it has its whole answer and may leave."""
        if self._epoll is not None and self._client >= 0:
            with suppress(OSError):
                self._epoll.unregister(self._client)
        self._client = -1

    def unregister(self) -> None:
        """Stop watching the upstream, before its connection is closed or returned to the pool.

        A closed descriptor leaves the epoll by itself, but only if no other one refers to the same socket (epoll(7));
        and one of a pooled connection would report events of another request.
        """
        if self._epoll is not None and self._upstream >= 0:
            with suppress(OSError):
                self._epoll.unregister(self._upstream)
        self._upstream = -1

    def close(self) -> None:
        """Stop watching."""
        if self._epoll is not None:
            self._epoll.close()

    def _set_for(self, upstream: Socket | None, interest: int) -> select.epoll:
        epoll = self._epoll
        if epoll is None:
            epoll = self._epoll = self._poller.epoll()
            epoll.register(self._poller.alarm, select.EPOLLIN)
            if self._client >= 0:
                epoll.register(self._client, select.EPOLLRDHUP)
        if upstream is None:
            return epoll
        if self._upstream < 0:
            self._upstream = upstream.fileno()
            epoll.register(self._upstream, interest)
        elif interest != self._interest:
            epoll.modify(self._upstream, interest)
        self._interest = interest
        return epoll
