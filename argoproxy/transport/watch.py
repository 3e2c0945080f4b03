"""Wait on the upstream, the client and the clock at once: one epoll per exchange, one shape in all workers.

Under gevent the unpatched epoll is taken, and gevent waits for the epoll's own descriptor (its `poll` ignores
POLLRDHUP). A client that closed only its sending half looks gone, and is treated so.
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
    """What can be waited for."""

    def fileno(self) -> int:
        """The descriptor."""


class Poller:
    """How this worker waits; to be made in the worker, after gevent has patched what it patches."""

    def __init__(self) -> None:
        monkey = sys.modules.get("gevent.monkey")
        self._is_patched = monkey is not None and monkey.is_module_patched("select")
        #: Readable once everybody who waits is to be told that the process stops.
        self.alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll = monkey.get_original("select", "epoll") if monkey and self._is_patched else select.epoll

    def stop(self) -> None:
        """Have all waits end, those to come too."""
        os.eventfd_write(self.alarm, 1)

    def wait(self, epoll: select.epoll, seconds: float) -> list[tuple[int, int]]:
        """Give (descriptor, events) of what is ready, nothing after that many seconds."""
        if not self._is_patched:
            return epoll.poll(seconds)
        ready = epoll.poll(0)
        if not ready and seconds > 0:
            hub = select.poll()
            hub.register(epoll.fileno(), select.POLLIN)
            ready = epoll.poll(0) if hub.poll(seconds * 1000) else []
        return ready


class Watch:
    """Watches one client and the upstream its request went to; `waited_s` is the time in which they were waited for."""

    def __init__(self, client: Socket | None, poller: Poller) -> None:
        """Watch only the upstream when client is None."""
        self._poller = poller
        self._client = -1 if client is None else client.fileno()
        self._epoll: select.epoll | None = None
        self._upstream = -1
        self._interest = 0
        self.waited_s = 0.0
        #: What is to be done now and then while somebody is waited for: gives the seconds until it wants to be asked
        #: again. May raise ClientGone.
        self.pulse: Callable[[], float] | None = None

    def wait(self, upstream: Socket | None, seconds: float, interest: int = READABLE) -> int:
        """Give the events of the upstream, 0 after that many seconds without one. Raises ClientGone."""
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
        """Take note that somebody was waited for since a moment of the monotonic clock."""
        self.waited_s += time.monotonic() - begun

    def check_client(self) -> None:
        """Look after the client without waiting. Raises ClientGone."""
        if self._client >= 0:
            self.wait(None, 0)

    def ignore_client(self) -> None:
        """Stop watching the client, who has got all there was and may leave."""
        if self._epoll is not None and self._client >= 0:
            with suppress(OSError):
                self._epoll.unregister(self._client)
        self._client = -1

    def unregister(self) -> None:
        """Stop watching the upstream, before its connection is closed or goes to somebody else."""
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
