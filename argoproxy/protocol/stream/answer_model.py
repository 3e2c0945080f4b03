"""Which model an answer names: the upstream's own word, or the name that its client asked for."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeVar

from argoproxy.protocol.json_text import dumps
from argoproxy.protocol.stream.sse import Batch, Event

EventT = TypeVar("EventT", bound=Event)

#: A chunk or a document whose model stands among the plain fields before its choices: nearly all of them.
_MODEL = re.compile(
    rb'(?:data: ?)?\{\s*(?:"(?:id|object|created|system_fingerprint|service_tier|provider)"\s*:\s*'
    rb'(?:"[^"\\]*"|\d+|null)\s*,\s*)*"model"\s*:\s*("[^"\\]*"|null)(?=\s*[,}])'
)
_NAME = b'"model"'


class AnswerModel(StrEnum):
    """Which model an answer names."""

    UPSTREAM = "upstream"
    ASKED = "asked"


class ModelNameFilter:
    """A Filter that gives chunks and documents the name that was asked for; everything else in them stays as it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._json = dumps(name)

    def feed(self, batch: Batch) -> Batch:
        return [self.named(event) for event in batch]

    def finish(self) -> Batch:
        return []

    def named(self, event: EventT) -> EventT:
        """Return an event with the name in it; the same one where it has it already, or names no model."""
        raw = event.raw
        found = _MODEL.match(raw)
        if found and raw.count(_NAME) == 1:
            start, end = found.span(1)
            return event if raw[start:end] == self._json else type(event)(raw[:start] + self._json + raw[end:])
        chunk = event.chunk
        if chunk is None or chunk.get("model") == self._name or not ("model" in chunk or "choices" in chunk):
            return event
        return type(event).of({**chunk, "model": self._name})
