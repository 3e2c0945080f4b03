"""By what requests are told apart in metrics: bounded, because labels are kept for ever and clients choose names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from argoproxy.errors import Ending
from argoproxy.protocol.access.printable import printable
from argoproxy.telemetry.outcome import Outcome

OTHER = "other"
MOST_NAMES = 100
LONGEST_NAME = 100
#: Combinations of all labels that one worker tells apart.
MOST_COMBINATIONS = 2000
#: What an upstream says beyond is no number of tokens.
MOST_TOKENS = 10**9


class Labels(NamedTuple):
    """By what one request is counted."""

    route: str
    model: str
    upstream: str
    key: str
    status: str
    ending: str


class Names:
    """The names that a label may hold: the first ones that came; any other one is `other`."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._labels = {"": "", OTHER: OTHER}

    def known(self, name: str) -> str:
        """Give the label of a name."""
        return self._labels.get(name, OTHER)

    def admitted(self, name: str) -> str:
        """Give the label of a name, which is told apart from now on if there is room."""
        if name not in self._labels and self._left > 0:
            self._left -= 1
            self._labels[name] = printable(name.encode("utf-8", "replace").decode())[:LONGEST_NAME]
        return self.known(name)


class Labeller:
    """Gives requests their labels, and remembers which there are."""

    def __init__(self) -> None:
        self._models, self._keys = Names(MOST_NAMES), Names(MOST_NAMES)
        self._combinations: set[Labels] = set()

    def goes_on_with(self, labels: Labels) -> None:
        """Take up labels by which a worker before this one has counted, so that they stay as few."""
        self._models.admitted(labels.model)
        self._keys.admitted(labels.key)
        self._combinations.add(labels)

    def labels(self, outcome: Outcome) -> Labels:
        """Give the labels of an outcome."""
        named = self._models.admitted if is_answered(outcome) else self._models.known
        model, key = named(outcome.model), self._keys.admitted(outcome.key)
        labels = _labels(outcome, model, key)
        if labels not in self._combinations:
            if len(self._combinations) >= MOST_COMBINATIONS:
                return _labels(outcome, OTHER, OTHER)
            self._combinations.add(labels)
        return labels


def is_answered(outcome: Outcome) -> bool:
    """Whether an upstream took the request: only then a model's name is more than a client's word."""
    is_good = bool(outcome.upstream) and 200 <= outcome.status < 300
    return is_good and not is_error(outcome)


def is_error(outcome: Outcome) -> bool:
    """Whether a request failed. A client that leaves is no error."""
    return outcome.ending not in (Ending.COMPLETE, Ending.CLIENT_GONE)


def tokens(outcome: Outcome) -> Iterator[tuple[str, int]]:
    """Give the tokens of a request by their type."""
    for kind, count in (("input", outcome.prompt_tokens), ("output", outcome.completion_tokens)):
        if count and 0 < count <= MOST_TOKENS:
            yield kind, count


def _labels(outcome: Outcome, model: str, key: str) -> Labels:
    return Labels(outcome.route, model, outcome.upstream, key, str(outcome.status), str(outcome.ending))
