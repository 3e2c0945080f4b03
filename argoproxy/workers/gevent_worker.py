"""Gunicorn's gevent worker, in which a client that is slow to send is given up."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gevent.socket
from gunicorn.workers.ggevent import GeventWorker

from argoproxy.workers.client_socket import Timekeeper
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.malformed import RefusesMalformed


class TimedGeventSocket(Timekeeper, gevent.socket.socket):  # type: ignore[misc]
    """A client's connection under gevent."""


class TimedGeventWorker(RefusesMalformed, GeventWorker):  # type: ignore[misc]
    """Reads from clients by sockets that keep the time."""

    timeouts: ClientTimeouts

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        sock = TimedGeventSocket(client.family, client.type, client.proto, fileno=client.detach())
        sock.timeouts = self.timeouts
        sock.restart_clock()
        super().handle(listener, sock, addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """The socket keeps the time of a head."""
        return nullcontext()
