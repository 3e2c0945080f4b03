"""Tokens, as upstreams count them."""

from __future__ import annotations

import re
from collections.abc import Callable

from argoproxy.protocol.chunks import Json
from argoproxy.protocol.sse import Batch, Document, Event

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


class UsageWithheld:
    """A Filter that keeps back the event in which a stream tells nothing but its tokens: we asked for it, its client
    did not."""

    def feed(self, batch: Batch) -> Batch:
        kept = [event for event in batch if not _tells_only_usage(event)]
        return batch if len(kept) == len(batch) else kept

    def finish(self) -> Batch:
        return []


def _tells_only_usage(event: Event) -> bool:
    if b'"usage"' not in event.raw or isinstance(event, Document) or not _USAGE.search(event.raw):
        return False
    chunk = event.chunk or {}
    return not chunk.get("choices") and isinstance(chunk.get("usage"), dict)
