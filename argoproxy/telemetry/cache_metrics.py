"""Metrics of kept answers, of models whose rule wants that."""

from __future__ import annotations

from argoproxy.protocol.cache.cache_headers import CacheResult
from argoproxy.telemetry.children import counters
from argoproxy.telemetry.labels import token_counts
from argoproxy.telemetry.outcome import Outcome


class CacheMetrics:
    """Counts in the worker's files."""

    def __init__(self) -> None:
        text = "Requests for models whose answers are kept: hit, miss or bypass."
        self._requests = counters("argoproxy_cache_requests", text, ("model", "result"))
        text = "Tokens of kept answers that were given again, as upstreams counted them the first time."
        self._saved = counters("argoproxy_cache_saved_tokens", text, ("model", "type"))

    def count(self, outcome: Outcome, model: str) -> None:
        """Count an outcome; `model` is the label of its model."""
        if not outcome.cache:
            return
        self._requests[model, outcome.cache].add(1)
        if outcome.cache == CacheResult.HIT:
            for kind, count in token_counts(outcome):
                self._saved[model, kind].add(count)
