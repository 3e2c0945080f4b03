"""What the workers have counted since the start, added up for the views."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from argoproxy.console.views.view_shapes import Counts
from argoproxy.errors import Ending
from argoproxy.telemetry.slots import uptime_s
from argoproxy.telemetry.worker_counts import WorkerCounts

#: How long counts are shown before they are added up again.
KEEP_S = 3.0
_NO_ERRORS = (Ending.COMPLETE, Ending.CLIENT_GONE)
NOT_SHARED = (
    "Nothing is counted: the proxy does not run, or its workers share no folder, as there is no space in /dev/shm nor"
    " in the temporary one."
)


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts since a moment (seconds since 1970), by a label's value: `by_model["gpt-4o"]`. `attempts` are those at
    an upstream, by their result."""

    started_at: float | None = None
    by_model: Mapping[str, Counts] = field(default_factory=dict)
    by_key: Mapping[str, Counts] = field(default_factory=dict)
    by_upstream: Mapping[str, Counts] = field(default_factory=dict)
    attempts: Mapping[str, dict[str, int]] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    fallbacks: Mapping[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why there are no counts, "" if there are."""
        return NOT_SHARED if self.started_at is None else ""


class RecentTotals:
    """The counts as they were at most KEEP_S ago: adding them up takes milliseconds, and many may look."""

    def __init__(self, shared: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared, self._clock = shared, clock
        self._lock = threading.Lock()
        self._totals, self._read_at = Totals(), float("-inf")

    def read(self) -> Totals:
        """Return the counts."""
        with self._lock:
            if self._clock() - self._read_at >= KEEP_S:
                before, self._totals = self._totals.started_at, read_totals(self._shared)
                self._read_at = self._clock()
                if before and self._totals.started_at:
                    # Rounding must not make two answers differ.
                    self._totals = replace(self._totals, started_at=before)
            return self._totals


def no_counts() -> Counts:
    """Return the counts of what was never asked for."""
    return {"requests": 0, "errors": 0, "tokens_in": 0, "tokens_out": 0, "cost": None}


def read_totals(shared: Path | None) -> Totals:
    """Return the counts of all workers in the folder that they share; none without it."""
    if shared is None:
        return Totals()
    try:
        uptime = uptime_s(shared)
    except (OSError, ValueError):
        return Totals()
    samples: dict[str, Sequence[Any]] = {one.name: one.samples for one in WorkerCounts(shared).merge_totals()}
    return Totals(
        round(time.time() - uptime),
        by_model=_group(samples, "model"),
        by_key=_group(samples, "key"),
        by_upstream=_group(samples, "upstream"),
        attempts=_attempts(samples),
        retries=_by_upstream(samples, "argoproxy_upstream_retries"),
        fallbacks=_by_upstream(samples, "argoproxy_upstream_fallbacks"),
    )


def _group(samples: Mapping[str, Sequence[Any]], label: str) -> dict[str, Counts]:
    groups: defaultdict[str, Counts] = defaultdict(no_counts)
    for name, labels, value in _values(samples):
        _add(groups[labels.get(label, "")], name, labels, value)
    return dict(groups)


def _values(samples: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for name in ("argoproxy_requests", "argoproxy_tokens", "argoproxy_cost"):
        for sample in samples.get(name, ()):
            yield name, sample.labels, sample.value


def _add(counts: Counts, name: str, labels: Mapping[str, str], value: float) -> None:
    if name == "argoproxy_requests":
        counts["requests"] += int(value)
        counts["errors"] += int(value) if labels["ending"] not in _NO_ERRORS else 0
    elif name == "argoproxy_cost":
        counts["cost"] = (counts["cost"] or 0.0) + value
    elif labels["type"] == "input":
        counts["tokens_in"] += int(value)
    else:
        counts["tokens_out"] += int(value)


def _attempts(samples: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for sample in samples.get("argoproxy_upstream_attempts", ()):
        found.setdefault(sample.labels["upstream"], {})[sample.labels["result"]] = int(sample.value)
    return found


def _by_upstream(samples: Mapping[str, Sequence[Any]], name: str) -> dict[str, int]:
    return {sample.labels["upstream"]: int(sample.value) for sample in samples.get(name, ())}
