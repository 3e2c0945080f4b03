"""The events of a response: numbered, and encoded as server-sent events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import encode_json


class EventLog:
    """Numbers events from 0 and keeps them until they are taken."""

    def __init__(self) -> None:
        self._count = 0
        self._events: list[Json] = []

    def add(self, kind: str, **fields: Any) -> None:
        """Add an event of the type `response.<kind>`."""
        self._append("response." + kind, fields)

    def add_keepalive(self) -> None:
        """Add an event that only says that the stream is alive. Codex does not count comments; openai-node accepts this
        type."""
        self._append("keepalive", {})

    def take(self) -> list[Json]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def _append(self, kind: str, fields: Json) -> None:
        self._events.append({"type": kind, "sequence_number": self._count, **fields})
        self._count += 1


def encode_events(events: Iterable[Json]) -> bytes:
    """Return events as they are sent."""
    return b"".join(
        [b"event: " + event["type"].encode() + b"\ndata: " + encode_json(event) + b"\n\n" for event in events]
    )
