"""Which price a model has: that of the operator, else one that is known by name; None if there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain
from typing import Any

from argoproxy.protocol.prices.price import Price
from argoproxy.protocol.prices.token_counts import read_token_counts

#: Names whose price is remembered; clients choose names.
MOST_NAMES = 1000

_SIGNS = re.compile(r"[*?\[]")


#: Remembered: clients use the same few names.
@lru_cache(maxsize=MOST_NAMES)
def price_names(upstream: str, sent_model: str, asked_model: str = "") -> tuple[str, ...]:
    """Return the names under which a request's price is looked up: what was sent to which upstream, what was sent, and
    what the client asked for."""
    names = (f"{upstream}/{sent_model}", sent_model, asked_model)
    return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request cost, in billionths. None where that is not known: `unknown` says why, "model" (it has no price)
    or "usage" (none came)."""

    nanos: int | None
    unknown: str = ""


NO_COST = Cost(None)


class PriceTable:
    """Prices by name or pattern. In `own` an exact name beats a pattern, and the first pattern the others; `known` is
    asked for models that have none of their own."""

    def __init__(self, own: Mapping[str, Price] | None = None, known: Mapping[str, Price] | None = None) -> None:
        self._prices = (_PricesByPattern(own or {}), _PricesByPattern(known or {}))
        self._found: dict[tuple[str, ...], Price | None] = {}

    def price_of(self, names: str | Sequence[str]) -> Price | None:
        """Return the price of a model with these names, the first being the strongest (see price_names)."""
        key = (names,) if isinstance(names, str) else tuple(names)
        try:
            return self._found[key]
        except KeyError:
            return self._look_for(key)

    def cost_of(self, usage: Mapping[str, Any] | None, names: str | Sequence[str]) -> int | None:
        """Return what a usage costs at the price of a model, in billionths; None if one of both is not known."""
        return self.charge(usage, names).nanos

    def charge(self, usage: Mapping[str, Any] | None, names: str | Sequence[str]) -> Cost:
        """Return what a request cost that an upstream has answered."""
        price = self.price_of(names)
        if price is None:
            return Cost(None, "model")
        counts = read_token_counts(usage)
        nanos = price.for_service((usage or {}).get("service_tier")).cost(counts) if counts else None
        return Cost(nanos) if nanos is not None else Cost(None, "usage" if counts is None else "model")

    def reserve_of(self, prompt_tokens: int, completion_tokens: int, names: str | Sequence[str]) -> int | None:
        """Return what is to be reserved for a request, in billionths; None if the model has no price."""
        price = self.price_of(names)
        return price.reserve(prompt_tokens, completion_tokens) if price else None

    def _look_for(self, names: tuple[str, ...]) -> Price | None:
        if len(self._found) >= MOST_NAMES:
            self._found.clear()
        price = self._found[names] = next(chain.from_iterable(prices.find(names) for prices in self._prices), None)
        return price


class _PricesByPattern:
    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        #: The text before the first sign of a pattern, by which most are passed over.
        self._starts = [(_SIGNS.split(name, 1)[0], name) for name in prices if _SIGNS.search(name)]

    def find(self, names: Sequence[str]) -> Iterator[Price]:
        """Yield the prices of these names, the strongest first."""
        yield from (self._prices[name] for name in names if name in self._prices)
        for name in names:
            for start, pattern in self._starts:
                if name.startswith(start) and fnmatchcase(name, pattern):
                    yield self._prices[pattern]
