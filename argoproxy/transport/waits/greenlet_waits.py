"""Waits in a greenlet, by the loop in which gevent itself waits. Imported only where gevent has patched the process.

The loop watches an upstream as gevent does for its own sockets, but goes on watching it between two waits: an event
costs no epoll_ctl. It can't see a client that leaves (EPOLLRDHUP), so all clients are in one epoll of their own, which
the loop watches. Not one epoll for each request: the kernel lets a file be in 500 epolls of an epoll at most
(`path_limits` in fs/eventpoll.c), and libev aborts the process at the next one.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent
from gevent import monkey

from argoproxy.errors import ClientGone, Stopping

#: Edge-triggered: a client that leaves is reported once.
LEAVING = select.EPOLLRDHUP | select.EPOLLET
#: Clients of which one call of epoll_wait reports that they leave.
CLIENTS = 256
#: Events of gevent's loop.
READ, WRITE = 1, 2


class GreenletWaiting:
    """What the waits of all requests of a process have in common."""

    def __init__(self) -> None:
        self.is_stopping = False
        self.poll: Any = monkey.get_original("select", "poll")
        self._clients = monkey.get_original("select", "epoll")()
        self._waits: dict[int, GreenletWaits] = {}
        #: Those whose greenlets wait.
        self.sleeping: set[GreenletWaits] = set()
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop = gevent.get_hub().loop
        # They don't keep the loop running (`ref`).
        self._watchers = [loop.io(descriptor, READ, ref=False) for descriptor in (self._clients.fileno(), self._alarm)]
        for watcher, callback in zip(self._watchers, (self._see_leaving, self._end_waits), strict=True):
            watcher.start(callback)

    def stop(self) -> None:
        """End all waits with Stopping, also later ones. For a signal handler: the loop is only woken."""
        self.is_stopping = True
        os.eventfd_write(self._alarm, 1)

    def open(self, client: int) -> GreenletWaits:
        """Return what watches a client's descriptor, and none if that is negative."""
        return GreenletWaits(client, self)

    def add(self, client: int, waits: GreenletWaits) -> None:
        """Tell `waits` when a client leaves."""
        self._waits[client] = waits
        self._clients.register(client, LEAVING)

    def remove(self, client: int, waits: GreenletWaits) -> None:
        """Forget a client."""
        if self._waits.get(client) is waits:  # else the number was already given to another connection
            del self._waits[client]
            with suppress(OSError):
                self._clients.unregister(client)

    def _see_leaving(self) -> None:
        for client, _ in self._clients.poll(0, CLIENTS):
            if waits := self._waits.get(client):
                waits.see_leaving()

    def _end_waits(self) -> None:
        os.eventfd_read(self._alarm)
        for waits in tuple(self.sleeping):
            waits.wake()


class GreenletWaits:
    """The waits of one request."""

    def __init__(self, client: int, waiting: GreenletWaiting) -> None:
        self._waiting = waiting
        self._hub = gevent.get_hub()
        self._client = client
        self._upstream = -1
        self._interest = 0
        self._is_client_gone = False
        self._io: Any = None
        self._timer: Any = None
        self._due = self._timer_due = 0.0
        self._events = 0
        self._greenlet: Any = None
        if client >= 0:
            waiting.add(client, self)

    def wait(self, seconds: float) -> int:
        """Return the events of the upstream, 0 after `seconds` without one. Raises ClientGone, Stopping."""
        if seconds <= 0:
            return self._look()
        self._check()
        self._events, self._due = 0, monotonic() + seconds
        if self._io is not None and not self._io.active:
            self._io.start(self._see_events, pass_events=True)
        if self._timer is None or not self._timer.active or self._timer_due > self._due:
            self._set_timer(seconds)
        self._greenlet = gevent.getcurrent()
        self._waiting.sleeping.add(self)
        try:
            while self._greenlet is not None:
                self._hub.switch()
        finally:
            self._greenlet = None
            self._waiting.sleeping.discard(self)
        self._check()
        return self._events

    def watch_upstream(self, descriptor: int, interest: int) -> None:
        """Watch the upstream from now on."""
        if self._upstream >= 0 and interest == self._interest:
            return
        self._close_io()
        wanted = (READ if interest & select.EPOLLIN else 0) | (WRITE if interest & select.EPOLLOUT else 0)
        self._io = self._hub.loop.io(descriptor, wanted)
        self._upstream, self._interest = descriptor, interest

    def forget_upstream(self) -> None:
        """Stop watching the upstream: before its descriptor is closed, or libev would abort the process."""
        self._close_io()
        self._upstream = -1

    def forget_client(self) -> None:
        """Stop watching the client."""
        if self._client >= 0:
            self._waiting.remove(self._client, self)
        self._client, self._is_client_gone = -1, False

    def close(self) -> None:
        """Stop watching both."""
        self.forget_upstream()
        self.forget_client()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def see_leaving(self) -> None:
        """Note that the client has left."""
        self._is_client_gone = True
        self.wake()

    def wake(self) -> None:
        """End the present wait. Called in the loop."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.switch()

    def _check(self) -> None:
        if self._is_client_gone:
            raise ClientGone
        if self._waiting.is_stopping:
            raise Stopping("The proxy is stopping.")

    def _look(self) -> int:
        """Return the events of the upstream at this moment."""
        poll = self._waiting.poll()
        if self._client >= 0:
            poll.register(self._client, select.EPOLLRDHUP)
        if self._upstream >= 0:
            poll.register(self._upstream, self._interest)
        ready = dict(poll.poll(0))
        if ready.pop(self._client, 0):
            self._is_client_gone = True
        self._check()
        events: int = ready.get(self._upstream, 0)
        return events

    def _see_events(self, events: int) -> None:
        """Take events from the loop, and stop them while the greenlet does something else: they are level-triggered."""
        if self._greenlet is None:
            self._io.stop()
            return
        self._events = (select.EPOLLIN if events & READ else 0) | (select.EPOLLOUT if events & WRITE else 0)
        self.wake()

    def _set_timer(self, seconds: float) -> None:
        """Have the wait end in time. A timer goes on when a wait ends before it, for the next one."""
        if self._timer is not None:
            self._timer.close()
        self._timer = self._hub.loop.timer(seconds)
        self._timer_due = self._due
        self._timer.start(self._see_time)

    def _see_time(self) -> None:
        left_s = self._due - monotonic()
        if left_s > 0:
            self._set_timer(left_s)
            self._timer_due = self._due
        else:
            self.wake()

    def _close_io(self) -> None:
        if self._io is not None:
            self._io.close()
            self._io = None
