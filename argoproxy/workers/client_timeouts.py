"""How long a client may take to send and to read, and how its connection is closed.

The master imports this for Gunicorn's settings: nothing here may load ssl, which gevent patches in the workers.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

#: Bytes a second that a body must bring on average, once `body_s` is over.
MIN_RATE = 500.0
LINGER_S = 2.0
#: What the kernel takes as TCP_USER_TIMEOUT, in milliseconds.
LONGEST_MS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """Seconds that a client may take: to send a head, to go on with a body, to begin its next request, to acknowledge
    what was sent (0: any time)."""

    head_s: float
    body_s: float
    keepalive_s: float
    unread_s: float

    def body_deadline(self, begun: float, last: float, received: int) -> float:
        """Return when a body times out, on the monotonic clock of `begun` and `last`, the times of its first and of its
        last bytes."""
        return min(last + self.body_s, begun + self.body_s + received / MIN_RATE)

    def limit_unread(self, client: socket.socket) -> None:
        """Have the kernel end a connection whose client acknowledges nothing of what was sent for `unread_s` (tcp(7),
        TCP_USER_TIMEOUT).

        A client that stops reading blocks a write, which no epoll watches. Connections would inherit the option from
        their listening socket, but not those that came before it was set, as while the proxy starts.
        """
        if self.unread_s and client.family != socket.AF_UNIX:
            milliseconds = min(round(self.unread_s * 1000), LONGEST_MS)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def linger(req: Any, environ: dict[str, Any], resp: Any) -> None:
    """Close our half of a connection that is not kept, and wait for its client to close too; for workers that don't
    poll their connections.

    Gunicorn does the same, but later, and there it delays other connections. A client is waited for only where it may
    still be sending: a closed socket answers data with a reset, on which the client's kernel drops what the client has
    not read yet of its answer (RFC 9112 section 9.6).
    """
    client = environ.get("gunicorn.socket")
    if client is None or not (resp is None or resp.should_close() or sys.exc_info()[0]):
        return
    until = time.monotonic() + (LINGER_S if _may_still_send(req) else 0.0)
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while (left_s := until - time.monotonic()) > 0:
            client.settimeout(left_s)
            if not client.recv(65_536):
                break
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)


def _may_still_send(req: Any) -> bool:
    """Return whether a request was not read to its end: Gunicorn's reader of a counted body keeps the number of missing
    bytes in `length`, that of chunks its parser until the last one."""
    reader = getattr(getattr(req, "body", None), "reader", None)
    return reader is None or bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))
