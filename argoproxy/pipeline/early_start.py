"""Heartbeats before the upstream answers (`early_heartbeat`, off by default).

The thread that waits for the upstream sends them itself, between two waits, with the `write` that WSGI's
start_response returns (PEP 3333). A second thread would cost a switch for each batch, and the waiting thread would no
longer watch the client. The head goes out with the first heartbeat and no sooner: an upstream that answers or refuses
in time keeps its status and headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from argoproxy.errors import ClientGone
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.stream.sse import HEARTBEAT
from argoproxy.transport.watch import Watch

Write = Callable[[bytes], object]
StartResponse = Callable[[str, list[tuple[str, str]]], Write]


class EarlyStart:
    """Starts the response of a stream while its upstream is awaited, as soon as a heartbeat is due."""

    def __init__(
        self, start_response: StartResponse, headers: Sequence[tuple[str, str]], watch: Watch, meter: ResponseMeter
    ) -> None:
        self._start_response = start_response
        self._headers = headers
        self._watch = watch
        self._meter = meter
        self._write: Write | None = None
        self._heartbeat = HEARTBEAT

    def add_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Send more headers, if the head is still to be sent."""
        self._headers = (*self._headers, *headers)

    @property
    def has_started(self) -> bool:
        """Whether the status has been sent."""
        return self._write is not None

    def enable(self, heartbeat: bytes = HEARTBEAT) -> None:
        """Send heartbeats whenever `watch` waits, until `disable`."""
        self._heartbeat = heartbeat
        self._watch.pulse = self._beat

    def disable(self) -> None:
        """Send no more heartbeats."""
        self._watch.pulse = None

    def _beat(self) -> float:
        """Send a heartbeat if one is due; return the seconds until the next. Raises ClientGone."""
        if self._meter.is_heartbeat_due():
            self._send(self._heartbeat)
            self._meter.add_bytes(len(self._heartbeat))
        return self._meter.until_heartbeat_s()

    def _send(self, piece: bytes) -> None:
        try:
            self._write = self._write or self._start_response("200 OK", list(self._headers))
            self._write(piece)
        except OSError:
            raise ClientGone from None
