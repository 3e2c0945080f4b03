"""A stream that begins before its upstream answers.

The thread that waits for the upstream sends the heartbeats itself, between two looks, with the `write` that WSGI's
start_response gives (PEP 3333): there is no second thread to hand anything over, and the client is watched as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from argoproxy.errors import ClientGone

Write = Callable[[bytes], object]
StartResponse = Callable[[str, list[tuple[str, str]]], Write]

START_RESPONSE = "argoproxy.start_response"


class WithStart:
    """An application that finds in its environ how a response is started."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Any:
        environ[START_RESPONSE] = start_response
        return self._application(environ, start_response)


class EarlyStart:
    """What a client was sent before there was an answer for it."""

    def __init__(self, environ: dict[str, Any], headers: Sequence[tuple[str, str]]) -> None:
        self._start: StartResponse = environ[START_RESPONSE]
        self._headers = headers
        self._write: Write | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the status is settled."""
        return self._write is not None

    def send(self, piece: bytes) -> None:
        """Send bytes, after the head of a stream where they are the first. Raises ClientGone."""
        try:
            self._write = self._write or self._start("200 OK", list(self._headers))
            self._write(piece)
        except OSError:
            raise ClientGone from None
