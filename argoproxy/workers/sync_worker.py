"""Gunicorn's sync worker, with limits on the time that clients may take to send."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.sync import SyncWorker

from argoproxy.workers.client_socket import TimedSocket, replace_socket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.error_responses import OpenAIErrors

#: Gunicorn would wait for half of its `timeout`, and see as late as that when the master has died.
MASTER_CHECK_S = 1.0


class TimedSyncWorker(OpenAIErrors, SyncWorker):  # type: ignore[misc]
    """Reads from clients through sockets with a limit of time."""

    timeouts: ClientTimeouts

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        self.timeouts.limit_unread(client)
        super().handle(listener, replace_socket(client, TimedSocket, self.timeouts), addr)

    def wait(self, timeout: float) -> Any:
        """Wait for a connection; return to Gunicorn's loop, which checks the master, once a second."""
        return super().wait(min(timeout, MASTER_CHECK_S))
