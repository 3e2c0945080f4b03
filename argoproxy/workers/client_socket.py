"""A client's socket with a limit of time on what it receives.

Gunicorn reads heads and bodies without any. Here a head must be complete within `head_s`; a body must not pause for
longer than `body_s`, and must come at a minimum rate on average. When the time is over, `recv` raises ClientTooSlow.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any, TypeVar

from gunicorn.http.errors import LimitRequestHeaders

from argoproxy.errors import ClientTooSlow
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.error_responses import LATE_HEAD
from argoproxy.workers.request_scanner import HEAD_LIMIT

SocketT = TypeVar("SocketT", bound="TimedRecv")


class TimedRecv:
    """Mixin of socket classes: a `recv` that waits for as long as the client may take.

    It changes nothing while the socket has a time-out (0 included): then the caller keeps the time.
    """

    timeouts: ClientTimeouts
    _is_in_head = True
    _is_first = True
    _begun = 0.0
    _last = 0.0
    _received = 0

    def expect_head(self) -> None:
        """Count what is received from now on as the next request."""
        self._is_in_head, self._is_first = True, False
        self.restart_clock()

    def expect_body(self) -> None:
        """Count what is received from now on as a body."""
        self._is_in_head = False
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count time and bytes from now on."""
        self._begun = self._last = time.monotonic()
        self._received = 0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read some bytes. Raises ClientTooSlow; LimitRequestHeaders for a head that is too long."""
        sock: Any = super()
        if sock.gettimeout() is not None:
            piece: bytes = sock.recv(bufsize, flags)
            return piece
        sock.settimeout(max(0.001, self._deadline() - time.monotonic()))
        try:
            piece = sock.recv(bufsize, flags)
        except TimeoutError:
            # The application, which would answer, is not called before the head is complete.
            if self._is_in_head and self._received:
                with suppress(OSError):
                    sock.send(LATE_HEAD)
            raise ClientTooSlow from None
        finally:
            with suppress(OSError):
                sock.settimeout(None)
        self._count(len(piece))
        return piece

    def _deadline(self) -> float:
        if not self._is_in_head:
            return self.timeouts.body_deadline(self._begun, self._last, self._received)
        is_idle = not self._received and not self._is_first
        return self._begun + (self.timeouts.keepalive_s if is_idle else self.timeouts.head_s)

    def _count(self, size: int) -> None:
        self._last = time.monotonic()
        if self._is_in_head and not self._received:
            self._begun = self._last
        self._received += size
        if self._is_in_head and self._received > HEAD_LIMIT:
            raise LimitRequestHeaders("the head is over 64 KiB")


class TimedSocket(TimedRecv, socket.socket):
    """A client's socket in a sync or threaded worker."""


def replace_socket(client: Any, kind: type[SocketT], timeouts: ClientTimeouts) -> SocketT:
    """Return a socket of another class for the same connection; `client` must not be used any more."""
    make: Any = kind
    sock: SocketT = make(client.family, client.type, client.proto, fileno=client.detach())
    sock.timeouts = timeouts
    sock.restart_clock()
    return sock
