"""The labels of metrics, bounded in number: Prometheus never forgets a combination, and clients choose the names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from argoproxy.errors import Ending
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.cache.cache_headers import CacheResult
from argoproxy.telemetry.outcome import Outcome

#: The label of all names beyond the first MAX_NAMES.
OTHER = "other"
MAX_NAMES = 100
MAX_NAME_LENGTH = 100
#: Combinations of all labels in one worker.
MAX_COMBINATIONS = 2000
#: A larger number in an upstream's usage is a mistake, and would spoil the sum for good.
MAX_TOKENS = 10**9


class Labels(NamedTuple):
    """The labels by which one request is counted."""

    route: str
    model: str
    upstream: str
    key: str
    status: str
    ending: str


class BoundedNames:
    """The first names that came, each its own label; any further one has the label `other`."""

    def __init__(self, max_names: int) -> None:
        self._room = max_names
        self._labels = {"": "", OTHER: OTHER}

    def label(self, name: str) -> str:
        """Return the label of a name."""
        return self._labels.get(name, OTHER)

    def add(self, name: str) -> str:
        """Give a name its own label if there is room; return its label."""
        if name not in self._labels and self._room > 0:
            self._room -= 1
            self._labels[name] = printable(name.encode("utf-8", "replace").decode())[:MAX_NAME_LENGTH]
        return self.label(name)


class Labeller:
    """Chooses the labels of requests, within the bounds."""

    def __init__(self) -> None:
        self._models, self._keys = BoundedNames(MAX_NAMES), BoundedNames(MAX_NAMES)
        self._combinations: set[Labels] = set()
        self._expected: frozenset[str] = frozenset()

    def expect_models(self, names: Iterable[str]) -> None:
        """Let models of the settings have labels of their own also if all their requests fail."""
        self._expected = frozenset(names)

    def restore(self, labels: Labels) -> None:
        """Take over labels of the worker that had this slot before, so that the bounds hold for both together."""
        self._models.add(labels.model)
        self._keys.add(labels.key)
        self._combinations.add(labels)

    def labels(self, outcome: Outcome) -> Labels:
        """Return the labels of an outcome."""
        # A name that no upstream accepted, and no rule names, is a client's invention: it gets no label of its own.
        is_known = is_accepted(outcome) or outcome.model in self._expected
        model = self._models.add(outcome.model) if is_known else self._models.label(outcome.model)
        labels = _labels(outcome, model, self._keys.add(outcome.key))
        if labels not in self._combinations:
            if len(self._combinations) >= MAX_COMBINATIONS:
                return _labels(outcome, OTHER, OTHER)
            self._combinations.add(labels)
        return labels


def is_accepted(outcome: Outcome) -> bool:
    """Return whether an upstream accepted the request, now or when its answer was kept."""
    is_good = bool(outcome.upstream or outcome.cache == CacheResult.HIT) and 200 <= outcome.status < 300
    return is_good and not is_error(outcome)


def is_error(outcome: Outcome) -> bool:
    """Return whether the request failed. A client that leaves is no error."""
    return outcome.ending not in (Ending.COMPLETE, Ending.CLIENT_GONE)


def token_counts(outcome: Outcome) -> list[tuple[str, int]]:
    """Return the tokens of a request by their type, `input` and `output`, without those that are unknown or 0."""
    counts = (("input", outcome.prompt_tokens), ("output", outcome.completion_tokens))
    return [(kind, count) for kind, count in counts if count and 0 < count <= MAX_TOKENS]


def _labels(outcome: Outcome, model: str, key: str) -> Labels:
    return Labels(outcome.route, model, outcome.upstream, key, str(outcome.status), str(outcome.ending))
