"""Filters over the top-level fields of chunks and documents: `usage` and `model`."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Event

EventT = TypeVar("EventT", bound=Event)

#: Fields of every chunk, and padding: a chunk of nothing else carries no information.
_COMMON_FIELDS = frozenset(
    "id object created model system_fingerprint service_tier choices obfuscation provider".split()
)
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
#: Nearly all chunks and documents: the model stands among plain fields before the choices.
_MODEL = re.compile(
    rb'(?:data: ?)?\{\s*(?:"(?:id|object|created|system_fingerprint|service_tier|provider)"\s*:\s*'
    rb'(?:"[^"\\]*"|\d+|null)\s*,\s*)*"model"\s*:\s*("[^"\\]*"|null)(?=\s*[,}])'
)
_MODEL_KEY = b'"model"'


class UsageMeter:
    """A Filter that changes nothing and passes each usage to `record`, with the `service_tier` that its answer names;
    the last one counts."""

    takes_runs = True

    def __init__(self, record: Callable[[Json], None]) -> None:
        self._record = record

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            if type(event) is not TextRun and b'"usage"' in event.raw:
                self.read(event)
        return batch

    def finish(self) -> Batch:
        return []

    def read(self, event: Event) -> bool:
        """Record the usage of an event; return whether it has one."""
        if not _USAGE.search(event.raw):
            return False
        chunk = event.chunk or {}
        usage = chunk.get("usage")
        if not isinstance(usage, dict):
            return False
        self._record(with_service(usage, chunk))
        return True


def with_service(usage: Json, answer: Json) -> Json:
    """Return a usage with the `service_tier` that its answer names beside it."""
    tier = answer.get("service_tier")
    return {**usage, "service_tier": tier} if isinstance(tier, str) else usage


class UsageRemover:
    """A Filter that removes `usage` from chunks without choices, for a client that did not ask for it when the proxy
    did. Other fields of such a chunk stay; a chunk that had none is not sent."""

    takes_runs = True

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            # Here, and not in a function: each batch passes, and most have none.
            if type(event) is not TextRun and b'"usage"' in event.raw and _tells_usage(event):
                return [passed for event in batch for passed in _without_usage(event)]
        return batch

    def finish(self) -> Batch:
        return []


def _tells_usage(event: Event) -> bool:
    """Return whether an event may tell usage alone: not a document, in which it belongs to the answer."""
    return type(event) is Event and _USAGE.search(event.raw) is not None


def _without_usage(event: Event) -> Batch:
    if not _tells_usage(event):
        return [event]
    chunk = event.chunk or {}
    if chunk.get("choices") or not isinstance(chunk.get("usage"), dict):
        return [event]
    rest = {key: value for key, value in chunk.items() if key != "usage"}
    return [Event.of(rest)] if rest.keys() - _COMMON_FIELDS else []


class AnswerModel(StrEnum):
    """Which model an answer names: as the upstream does, or the name in the request."""

    UPSTREAM = "upstream"
    ASKED = "asked"


class ModelNameFilter:
    """A Filter that sets `model` in chunks and documents; everything else in them stays byte for byte."""

    takes_runs = True

    def __init__(self, name: str) -> None:
        self._name = name
        self._json = dumps(name)

    def feed(self, batch: Batch) -> Batch:
        passed: Batch = []
        for event in batch:
            passed += self._set_in_run(event) if isinstance(event, TextRun) else (self.set_model(event),)
        return passed

    def finish(self) -> Batch:
        return []

    def set_model(self, event: EventT) -> EventT:
        """Return an event with the name in it; the same object if it has that name, or no model at all."""
        raw = event.raw
        match = _MODEL.match(raw)
        if match and raw.count(_MODEL_KEY) == 1:
            start, end = match.span(1)
            return event if raw[start:end] == self._json else type(event)(raw[:start] + self._json + raw[end:])
        chunk = event.chunk
        if chunk is None or chunk.get("model") == self._name or not ("model" in chunk or "choices" in chunk):
            return event
        return type(event).of({**chunk, "model": self._name})

    def _set_in_run(self, run: TextRun) -> Batch:
        """Return a run with the name in it, cut unless all its events name the same model."""
        raw = run.raw
        match = _MODEL.match(raw)
        # Quotes in texts are escaped, so this stands nowhere but at the top.
        key = _MODEL_KEY + b":"
        if match and raw.count(b"\n\n") == raw.count(key) == raw.count(key + match.group(1)):
            is_set = match.group(1) == self._json
            return [run if is_set else TextRun(raw.replace(key + match.group(1), key + self._json))]
        return [self.set_model(event) for event in run.cut()]
