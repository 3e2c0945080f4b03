"""Counts, tokens and latencies of a journal's exchanges, per model; only numbers are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from argoproxy.cli.logs.entries import Exchange
from argoproxy.errors import Ending
from argoproxy.protocol.json_text import Json

PERCENTILES = (50, 90, 99)
OTHER = "other"
#: Models that are told apart: their names are the clients' words.
MOST_MODELS = 1000


class Latencies:
    """Milliseconds to three digits: so few different ones that each can be counted, and all of them count."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, value_ms: float | None) -> None:
        """Count a time, where there is one."""
        if value_ms is not None:
            self._counts[float(f"{value_ms:.3g}")] += 1

    def percentile(self, percent: int) -> float | None:
        """Give the least time that so many of a hundred did not exceed; None where there is none."""
        needed = self._counts.total() * percent / 100
        seen = 0
        for value_ms in sorted(self._counts):
            seen += self._counts[value_ms]
            if seen >= needed:
                return value_ms
        return None

    def document(self) -> Json:
        """Tell the percentiles."""
        return {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}


class Group:
    """Exchanges counted together. Latencies are those of complete ones: a refusal at once is no fast answer."""

    def __init__(self) -> None:
        self.requests = self.errors = self.client_gone = self.prompt_tokens = self.completion_tokens = 0
        self.total, self.first_byte = Latencies(), Latencies()

    def add(self, exchange: Exchange) -> None:
        """Count an exchange."""
        self.requests += 1
        self.prompt_tokens += exchange.prompt_tokens or 0
        self.completion_tokens += exchange.completion_tokens or 0
        if exchange.ending == Ending.COMPLETE:
            self.total.add(exchange.total_ms)
            self.first_byte.add(exchange.first_byte_ms)
        elif exchange.ending == Ending.CLIENT_GONE:
            self.client_gone += 1
        else:
            self.errors += 1

    def document(self) -> Json:
        """Tell the numbers."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "client_gone": self.client_gone,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_ms": self.total.document(),
            "first_byte_ms": self.first_byte.document(),
        }


class Statistics:
    """The groups of all models, and all of them together."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.total = Group()
        self._models: dict[str, Group] = {}
        for exchange in exchanges:
            self.total.add(exchange)
            self._of(exchange.model).add(exchange)

    def models(self) -> list[tuple[str, Group]]:
        """Give the models with their groups, the most asked one first."""
        return sorted(self._models.items(), key=lambda item: (-item[1].requests, item[0]))

    def document(self) -> Json:
        """Tell all numbers."""
        return {"models": {name: group.document() for name, group in self.models()}, "total": self.total.document()}

    def _of(self, model: str) -> Group:
        if model not in self._models and len(self._models) >= MOST_MODELS:
            model = OTHER
        return self._models.setdefault(model, Group())
