"""What the lines of a journal say, and the numbers per model: counts, tokens, latencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import Ending
from argoproxy.protocol.json_text import Json, as_text

PERCENTILES = (50, 90, 99)
#: The name under which further models are counted together.
OTHER = "other"
#: Models counted apart; clients choose the names, so there could be any number.
MAX_MODELS = 1000


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One request as its client saw it, or one attempt as the upstream did; "" and None for what a line lacks."""

    time: str
    id: str
    model: str
    upstream: str
    key: str
    send_mode: str
    return_mode: str
    status: int | None
    ending: str
    first_byte_ms: float | None
    total_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None


def read_line(document: Json) -> JournalLine:
    """Read a line; a field of the wrong type counts as missing."""
    usage = _usage(document)
    return JournalLine(
        time=as_text(document.get("timestamp")),
        id=as_text(document.get("logging_id")),
        model=as_text(document.get("model")),
        upstream=as_text(document.get("upstream")),
        key=as_text(document.get("key")),
        send_mode=as_text(document.get("send_mode")),
        return_mode=as_text(document.get("return_mode")),
        status=_count(document.get("status")),
        ending=as_text(document.get("ending")),
        first_byte_ms=_milliseconds(document.get("first_byte_ms")),
        total_ms=_milliseconds(document.get("total_ms")),
        prompt_tokens=_first_count(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_first_count(usage, "completion_tokens", "output_tokens"),
    )


class Latencies:
    """Milliseconds, rounded to three digits: so few different values that each can be counted, for any journal."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, value_ms: float | None) -> None:
        """Count a time; None is ignored."""
        if value_ms is not None:
            self._counts[float(f"{value_ms:.3g}")] += 1

    def percentile(self, percent: int) -> float | None:
        """Return the smallest time that at least `percent` of the times do not exceed; None without times."""
        rank = self._counts.total() * percent / 100
        count = 0
        for value_ms in sorted(self._counts):
            count += self._counts[value_ms]
            if count >= rank:
                return value_ms
        return None

    def document(self) -> Json:
        """Return the percentiles as JSON."""
        return {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}


class RequestCounts:
    """Requests counted together. Latencies are those of complete ones: an immediate refusal is no fast answer."""

    def __init__(self) -> None:
        self.requests = self.errors = self.client_gone = self.prompt_tokens = self.completion_tokens = 0
        self.total, self.first_byte = Latencies(), Latencies()

    def add(self, line: JournalLine) -> None:
        """Count a request."""
        self.requests += 1
        self.prompt_tokens += line.prompt_tokens or 0
        self.completion_tokens += line.completion_tokens or 0
        if line.ending == Ending.COMPLETE:
            self.total.add(line.total_ms)
            self.first_byte.add(line.first_byte_ms)
        elif line.ending == Ending.CLIENT_GONE:
            self.client_gone += 1
        else:
            self.errors += 1

    def document(self) -> Json:
        """Return the numbers as JSON."""
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
    """The numbers of each model, and of all models together."""

    def __init__(self, lines: Iterable[JournalLine]) -> None:
        self.total = RequestCounts()
        self._models: dict[str, RequestCounts] = {}
        for line in lines:
            self.total.add(line)
            self._group(line.model).add(line)

    def models(self) -> list[tuple[str, RequestCounts]]:
        """Return the models with their numbers, the one with most requests first."""
        return sorted(self._models.items(), key=lambda item: (-item[1].requests, item[0]))

    def document(self) -> Json:
        """Return all numbers as JSON."""
        return {"models": {name: group.document() for name, group in self.models()}, "total": self.total.document()}

    def _group(self, model: str) -> RequestCounts:
        if model not in self._models and len(self._models) >= MAX_MODELS:
            model = OTHER
        return self._models.setdefault(model, RequestCounts())


def _usage(document: Json) -> Json:
    output = document.get("output")
    for holder in (output if isinstance(output, dict) else {}, document):
        usage = holder.get("usage")
        if isinstance(usage, dict):
            return usage
    return {}


def _first_count(usage: Json, *names: str) -> int | None:
    return next((count for name in names if (count := _count(usage.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _milliseconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < float("inf") else None
