"""The price of a model, and what tokens cost at it.

Money is counted in whole billionths of the currency's unit. A rate is the billionths of a million tokens, so that a
price of $0.0028 a million is a whole number too; a cost is rounded once, up, so that nothing costs less than it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from argoproxy.protocol.prices.token_counts import TokenCounts

MILLION = 10**6


class TokenKind(StrEnum):
    """Tokens that have a price of their own."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    AUDIO_INPUT = "audio_input"
    OUTPUT = "output"
    REASONING = "reasoning"
    AUDIO_OUTPUT = "audio_output"


#: Billionths a million tokens, by kind; a kind that is missing costs what the one named in _INSTEAD costs.
Rates = Mapping[TokenKind, int]

_INSTEAD = {
    TokenKind.CACHED_INPUT: TokenKind.INPUT,
    TokenKind.CACHE_WRITE: TokenKind.INPUT,
    TokenKind.CACHE_WRITE_1H: TokenKind.CACHE_WRITE,
    TokenKind.AUDIO_INPUT: TokenKind.INPUT,
    TokenKind.REASONING: TokenKind.OUTPUT,
    TokenKind.AUDIO_OUTPUT: TokenKind.OUTPUT,
}
_PROMPT_KINDS = (TokenKind.INPUT, TokenKind.CACHE_WRITE, TokenKind.CACHE_WRITE_1H)
_COMPLETION_KINDS = (TokenKind.OUTPUT, TokenKind.REASONING)


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of all tokens of requests whose prompt has more than `above` tokens."""

    above: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    """Rates of a model, `tiers` by rising prompts, and the most tokens that it answers with (None: not known).
    `services` are prices of other `service_tier`s, by their names."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    max_output: int | None = None
    services: Mapping[str, Price] = field(default_factory=dict)

    def for_service(self, name: object) -> Price:
        """Return the price at a `service_tier`, as a request or a usage names it; this one where it has no other."""
        return self.services.get(name, self) if isinstance(name, str) else self

    def cost(self, counts: TokenCounts) -> int | None:
        """Return what tokens cost, in billionths; None if a kind among them has no price."""
        rates = self._rates_at(counts.prompt)
        return _round_up(_sum(rates, counts))

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the most that a request may cost whose prompt is estimated and whose completion is bounded, in
        billionths; None if it has no price.

        The rates are those of twice the prompt: an estimate just below a tier would otherwise reserve half of what is
        charged. A prompt may be written to a cache, a completion be all thoughts.
        """
        steps = [self.rates, *(tier.rates for tier in self.tiers if 2 * prompt_tokens > tier.above)]
        costs = [_dearest(rates, _PROMPT_KINDS, prompt_tokens) for rates in steps]
        answers = [_dearest(rates, _COMPLETION_KINDS, completion_tokens) for rates in steps]
        known = [
            one + other for one, other in zip(costs, answers, strict=True) if one is not None and other is not None
        ]
        return _round_up(max(known)) if len(known) == len(steps) else None

    def _rates_at(self, prompt_tokens: int) -> Rates:
        above = [tier.rates for tier in self.tiers if prompt_tokens > tier.above]
        return above[-1] if above else self.rates


def _sum(rates: Rates, counts: TokenCounts) -> int | None:
    total = 0
    for kind, count in _by_kind(counts):
        rate = _rate(rates, kind) if count else 0
        if rate is None:
            return None
        total += count * rate
    return total


def _by_kind(counts: TokenCounts) -> Iterator[tuple[TokenKind, int]]:
    yield TokenKind.INPUT, counts.prompt - counts.cached - counts.written - counts.prompt_audio
    yield TokenKind.OUTPUT, counts.completion - counts.reasoning - counts.completion_audio
    yield TokenKind.CACHED_INPUT, counts.cached
    yield TokenKind.CACHE_WRITE, counts.written - counts.written_1h
    yield TokenKind.CACHE_WRITE_1H, counts.written_1h
    yield TokenKind.AUDIO_INPUT, counts.prompt_audio
    yield TokenKind.REASONING, counts.reasoning
    yield TokenKind.AUDIO_OUTPUT, counts.completion_audio


def _dearest(rates: Rates, kinds: tuple[TokenKind, ...], count: int) -> int | None:
    known = [rate for rate in (_rate(rates, kind) for kind in kinds) if rate is not None]
    return count * max(known) if known else None if count else 0


def _rate(rates: Rates, kind: TokenKind) -> int | None:
    while kind not in rates:
        if kind not in _INSTEAD:
            return None
        kind = _INSTEAD[kind]
    return rates[kind]


def _round_up(millionths: int | None) -> int | None:
    return None if millionths is None else -(-millionths // MILLION)
