"""Wait for the upstream, the client and the clock at once, in all kinds of workers.

A client that closes only its sending half is treated as gone: the two can't be distinguished before something is
written (RFC 9112 section 9.6 allows both).
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


class Socket(Protocol):
    """An object with a descriptor that can be waited for."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Waits(Protocol):
    """The waits of one request, in a worker of some kind."""

    def wait(self, seconds: float) -> int:
        """Return the events of the upstream, 0 after `seconds` without one. Raises ClientGone, Stopping."""

    def watch_upstream(self, descriptor: int, interest: int) -> None:
        """Watch the upstream from now on."""

    def forget_upstream(self) -> None:
        """Stop watching the upstream."""

    def forget_client(self) -> None:
        """Stop watching the client."""

    def close(self) -> None:
        """Stop watching both."""


class Waiting(Protocol):
    """How a process waits."""

    def stop(self) -> None:
        """End all waits with Stopping, also later ones. For a signal handler."""

    def open(self, client: int) -> Waits:
        """Return what watches a client's descriptor, and none if that is negative."""


class Poller:
    """How this process waits. To be made in the worker, after gevent has patched the standard library."""

    def __init__(self) -> None:
        monkey = sys.modules.get("gevent.monkey")
        is_patched = monkey is not None and monkey.is_module_patched("select")
        module = import_module(f"argoproxy.transport.waits.{'greenlet_waits' if is_patched else 'thread_waits'}")
        waiting: Waiting = module.GreenletWaiting() if is_patched else module.ThreadWaiting()
        self.stop = waiting.stop
        self.open = waiting.open


class Watch:
    """Watches a client and the upstream of its request. `waited_s` is the time that was spent waiting for them."""

    def __init__(self, client: Socket | None, poller: Poller) -> None:
        """Watch only the upstream when client is None."""
        self._poller = poller
        self._client = -1 if client is None else client.fileno()
        self._waits: Waits | None = None
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
        waits = self._waits
        if waits is None:
            waits = self._waits = self._poller.open(self._client)
        if upstream is not None:
            waits.watch_upstream(upstream.fileno(), interest)
        begun = time.monotonic()
        try:
            return waits.wait(seconds)
        finally:
            self.waited_s += time.monotonic() - begun

    def add_wait_since(self, begun: float) -> None:
        """Add the time since `begun`, on the monotonic clock, to `waited_s`."""
        self.waited_s += time.monotonic() - begun

    def check_client(self) -> None:
        """Check for the client without waiting. Raises ClientGone."""
        if self._client >= 0:
            self.wait(None, 0)

    def ignore_client(self) -> None:
        """Stop watching the client: it has its whole answer and may leave."""
        if self._waits is not None:
            self._waits.forget_client()
        self._client = -1

    def unregister(self) -> None:
        """Stop watching the upstream, before its connection is closed or returned to the pool.

        A closed descriptor leaves the epoll by itself, but only if no other one refers to the same socket (epoll(7));
        and one of a pooled connection would report events of another request.
        """
        if self._waits is not None:
            self._waits.forget_upstream()

    def close(self) -> None:
        """Stop watching."""
        waits, self._waits = self._waits, None
        if waits is not None:
            waits.close()
