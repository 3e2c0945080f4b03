"""Waits in a thread: an epoll for each request that is served at the same time."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from argoproxy.errors import ClientGone, Stopping


class ThreadWaiting:
    """The epolls of a process. To make one takes three system calls, so they are kept for the next requests: as many as
    are in use, and one."""

    def __init__(self) -> None:
        self._used: set[select.epoll] = set()
        self._free: list[select.epoll] = []
        #: Readable once the process stops. An eventfd, which every epoll holds: a signal handler can write to it, and
        #: it ends all waits in all threads, the later ones too, because it is never read (eventfd(2)).
        self.alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def stop(self) -> None:
        """End all waits with Stopping, also later ones. For a signal handler."""
        os.eventfd_write(self.alarm, 1)

    def open(self, client: int) -> ThreadWaits:
        """Return what watches a client's descriptor, and none if that is negative."""
        return ThreadWaits(client, self)

    def take(self) -> select.epoll:
        """Return an epoll that holds an alarm and nothing else."""
        try:
            epoll = self._free.pop()
        except IndexError:
            epoll = select.epoll()
            epoll.register(self.alarm, select.EPOLLIN)
        self._used.add(epoll)
        return epoll

    def put(self, epoll: select.epoll) -> None:
        """Take back an epoll that holds an alarm and nothing else."""
        self._used.discard(epoll)
        self._free.append(epoll)
        while len(self._free) > len(self._used) + 1:
            with suppress(IndexError):
                self._free.pop().close()


class ThreadWaits:
    """The waits of one request."""

    def __init__(self, client: int, waiting: ThreadWaiting) -> None:
        self._waiting = waiting
        self._epoll = waiting.take()
        self._client = client
        self._upstream = -1
        self._interest = 0
        if client >= 0:
            self._epoll.register(client, select.EPOLLRDHUP)

    def wait(self, seconds: float) -> int:
        """Return the events of the upstream, 0 after `seconds` without one. Raises ClientGone, Stopping."""
        events = 0
        for descriptor, seen in self._epoll.poll(seconds):
            if descriptor == self._client:
                raise ClientGone
            if descriptor == self._waiting.alarm:
                raise Stopping("The proxy is stopping.")
            events = seen
        return events

    def watch_upstream(self, descriptor: int, interest: int) -> None:
        """Watch the upstream from now on."""
        if self._upstream < 0:
            self._epoll.register(descriptor, interest)
        elif interest != self._interest:
            self._epoll.modify(descriptor, interest)
        self._upstream, self._interest = descriptor, interest

    def forget_upstream(self) -> None:
        """Stop watching the upstream."""
        self._upstream = self._forget(self._upstream)

    def forget_client(self) -> None:
        """Stop watching the client."""
        self._client = self._forget(self._client)

    def close(self) -> None:
        """Stop watching both."""
        self.forget_upstream()
        self.forget_client()
        self._waiting.put(self._epoll)

    def _forget(self, descriptor: int) -> int:
        if descriptor >= 0:
            with suppress(OSError):
                self._epoll.unregister(descriptor)
        return -1
