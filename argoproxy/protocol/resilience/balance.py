"""In which order the upstreams of a rule are tried.

| policy | which is first | which is next |
| --- | --- | --- |
| `ordered` | the first in the file | as in the file |
| `weighted` | drawn at random, each as often as its weight says | drawn from the rest in the same way |
| `least_open` | of two drawn by weight, that with fewer open streams per weight | the other, then the rest as drawn |
| `sticky` | always the same one for the same key, unless it is overloaded | always the same one for the same key |

Two that are drawn are nearly as even as the least of all, and the workers of a host, which draw each for itself, do not
all choose the same one (M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).

The order of `sticky` is rendezvous hashing with weights (D. Thaler, C. Ravishankar, 1998; J. Resch, 2015): each pair of
a key and a name has a score of its own, so without an upstream only its keys move, and they come back with it. Nothing
is stored: every worker, every replica and every version must score alike, so the hash below never changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

#: How many times its share of the open streams an upstream may have before its keys go elsewhere (V. Mirrokni et al.,
#: Consistent Hashing with Bounded Loads, 2016; `hash-balance-factor` of HAProxy).
LOAD_FACTOR = 1.25
#: How many streams above its share, rounded up, it may have in any case: few streams are never spread evenly.
LEAST_EXCESS = 1
#: Of 64 hashed bits, those of a fraction that a float holds exactly, with half a step added: never 0, never 1.
_BITS = 52


class Balance(StrEnum):
    """How a rule chooses between its upstreams."""

    ORDERED = "ordered"
    WEIGHTED = "weighted"
    LEAST_OPEN = "least_open"
    STICKY = "sticky"


@dataclass(frozen=True, slots=True)
class Balancing:
    """How a rule chooses between its upstreams; those without a weight have 1."""

    policy: Balance
    weights: Mapping[str, float] = field(default_factory=dict)

    def weight_of(self, name: str) -> float:
        """Return the weight of an upstream."""
        return self.weights.get(name, 1.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream that may be tried. One that is not available is tried after the others: nothing is sent to it at the
    moment, so its streams say nothing about the load."""

    name: str
    weight: float = 1.0
    open_streams: int = 0
    is_available: bool = True


def order_candidates(
    policy: Balance, candidates: Sequence[Candidate], key: str, draw: Callable[[], float]
) -> list[Candidate]:
    """Return the candidates in the order in which they are tried. `key` says what belongs together, for `sticky`;
    `draw` returns random numbers, at least 0 and less than 1."""
    if policy is Balance.ORDERED:
        return list(candidates)
    available = [candidate for candidate in candidates if candidate.is_available]
    others = [candidate for candidate in candidates if not candidate.is_available]
    if policy is Balance.STICKY:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        ranked = _rank(available, (_fraction_of(digest, candidate.name) for candidate in available))
        return _pass_over_loaded(ranked) + _rank(others, (_fraction_of(digest, other.name) for other in others))
    drawn = _rank(available, (1.0 - draw() for _ in available))
    if policy is Balance.LEAST_OPEN:
        drawn[:2] = sorted(drawn[:2], key=lambda candidate: candidate.open_streams / candidate.weight)
    return drawn + _rank(others, (1.0 - draw() for _ in others))


def _rank(candidates: Sequence[Candidate], fractions: Iterable[float]) -> list[Candidate]:
    """Return the candidates by numbers that are evenly spread over (0, 1], one for each. Whatever is first, is so with
    the probability of its share of the weights; so is what is next among the rest."""
    times = [-math.log(number) / one.weight for one, number in zip(candidates, fractions, strict=True)]
    return [one for _, one in sorted(zip(times, candidates, strict=True), key=lambda pair: pair[0])]


def _fraction_of(digest: bytes, name: str) -> float:
    """Return the number of a key and a name, evenly spread over (0, 1)."""
    hashed = blake2b(name.encode(), digest_size=8, key=digest).digest()
    return ((int.from_bytes(hashed, "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)


def _pass_over_loaded(ranked: list[Candidate]) -> list[Candidate]:
    """Return the candidates with those that have much more than their share of the open streams behind the others."""
    open_streams = sum(candidate.open_streams for candidate in ranked)
    weights = sum(candidate.weight for candidate in ranked)

    def is_overloaded(candidate: Candidate) -> bool:
        share = open_streams * candidate.weight / weights
        return candidate.open_streams > max(LOAD_FACTOR * share, math.ceil(share) + LEAST_EXCESS)

    return sorted(ranked, key=is_overloaded)
