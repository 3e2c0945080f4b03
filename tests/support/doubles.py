"""Stand-ins for what the pure parts of the proxy are handed: bodies, replies, the progress of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argoproxy.errors import Ending, InternalError, ProxyError
from argoproxy.protocol.http_messages import Headers


class WholeBody:
    """A request body that has arrived."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.length: int | None = len(text)

    def read(self, limit: int) -> bytes:
        return self._text

    def iter_bytes(self) -> Iterator[bytes]:
        yield self._text


class BodyInPieces:
    """A request body that arrives in pieces."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self.parts, self.length = parts, length

    def read(self, limit: int) -> bytes:
        return b"".join(self.parts)

    def iter_bytes(self) -> Iterator[bytes]:
        return iter(self.parts)


class FakeReply:
    """An upstream's reply that has arrived; None is a moment of silence."""

    status = 200

    def __init__(self, pieces: list[bytes], headers: Headers = ()) -> None:
        self.headers = headers
        self._pieces = pieces

    def iter_bytes(self) -> Iterator[bytes]:
        yield from self._pieces

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return b"".join(self._pieces)


class FakeProgress:
    """What an answer reports of itself, remembered."""

    def __init__(self, headers: Headers = (), due: bool = False) -> None:
        self.id = "id-1"
        self.reply_status = 200
        self.upstream_name = "up"
        self.reply_headers = headers
        self.due = due
        self.error: Exception | None = None
        self.ending: Ending | None = None
        self.usages: list[dict[str, Any]] = []

    def is_heartbeat_due(self) -> bool:
        return self.due

    def record_usage(self, usage: dict[str, Any]) -> None:
        self.usages.append(usage)

    def set_ending(self, ending: Ending) -> None:
        self.ending = self.ending or ending

    def record_failure(self, error: ProxyError) -> None:
        self.error = error

    def record_crash(self, error: Exception) -> ProxyError:
        self.error = error
        return InternalError("It failed.")
