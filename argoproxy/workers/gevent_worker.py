"""Gunicorn's gevent worker, with limits on the time that clients may take to send."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gevent.socket
from gunicorn.workers.ggevent import GeventWorker

from argoproxy.workers.client_socket import TimedRecv, replace_socket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.error_responses import OpenAIErrors


class TimedGeventSocket(TimedRecv, gevent.socket.socket):  # type: ignore[misc]
    """A client's socket under gevent."""

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all. gevent's own first asks the kernel for the size of its buffer, each time."""
        sent = self.send(data, flags)
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)


class TimedGeventWorker(OpenAIErrors, GeventWorker):  # type: ignore[misc]
    """Reads from clients through sockets with a limit of time."""

    timeouts: ClientTimeouts

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        super().handle(listener, replace_socket(client, TimedGeventSocket, self.timeouts), addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Return a context without a time-out: Gunicorn would end a kept connection in the midst of a head, without an
        answer, where the socket sends one."""
        return nullcontext()
