"""Tokens, as upstreams count them."""

from __future__ import annotations

import re
from collections.abc import Callable

from argoproxy.protocol.chunks import Json
from argoproxy.protocol.sse import Batch

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
