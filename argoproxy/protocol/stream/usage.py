"""Tokens, as upstreams count them."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import is_

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import Batch, Document, Event

#: What every chunk says, and what pads it.
_FRAME = frozenset("id object created model system_fingerprint service_tier choices obfuscation provider".split())
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class UsageMeter:
    """A Filter that only looks: it tells of each usage that passes, the last one being the one that counts."""

    def __init__(self, note: Callable[[Json], None]) -> None:
        self._note = note

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            if b'"usage"' in event.raw and _USAGE.search(event.raw):
                usage = (event.chunk or {}).get("usage")
                if isinstance(usage, dict):
                    self._note(usage)
        return batch

    def finish(self) -> Batch:
        return []


class UsageRemover:
    """A Filter that keeps back the tokens of an event that tells of no choice: we asked for them, its client did not.
    What else such an event tells goes on."""

    def feed(self, batch: Batch) -> Batch:
        kept = [told for event in batch for told in _without_usage(event)]
        return batch if len(kept) == len(batch) and all(map(is_, kept, batch)) else kept

    def finish(self) -> Batch:
        return []


def _without_usage(event: Event) -> Batch:
    if b'"usage"' not in event.raw or isinstance(event, Document) or not _USAGE.search(event.raw):
        return [event]
    chunk = event.chunk or {}
    if chunk.get("choices") or not isinstance(chunk.get("usage"), dict):
        return [event]
    rest = {key: value for key, value in chunk.items() if key != "usage"}
    return [Event.of(rest)] if rest.keys() - _FRAME else []
