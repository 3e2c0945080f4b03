"""Gunicorn's sync worker, in which a client that is slow to send is given up."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.sync import SyncWorker

from argoproxy.workers.client_socket import TimedSocket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.malformed import RefusesMalformed

LOOK_S = 1.0


class TimedSyncWorker(RefusesMalformed, SyncWorker):  # type: ignore[misc]
    """Reads from clients by sockets that keep the time."""

    timeouts: ClientTimeouts

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        sock = TimedSocket(client.family, client.type, client.proto, fileno=client.detach())
        sock.timeouts = self.timeouts
        sock.restart_clock()
        super().handle(listener, sock, addr)

    def wait(self, timeout: float) -> Any:
        """Wait for a connection; look once a second whether the master is still there."""
        return super().wait(min(timeout, LOOK_S))
