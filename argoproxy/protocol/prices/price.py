"""The price of a model, and what tokens cost at it.

Money is counted in whole billionths of the currency's unit. A rate is the billionths of a million tokens, so that a
price of $0.0028 a million is a whole number too; a cost is rounded once, up, so that nothing costs less than it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

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


class _Step(NamedTuple):
    """What tokens cost in prompts with more than `above` tokens: the rates of all kinds, in the order of TokenKind, and
    the highest that a token of a prompt and one of an answer can have. None stands for a price that is not known."""

    above: int
    rates: tuple[int | None, ...]
    dearest_input: int | None
    dearest_output: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """Rates of a model, `tiers` by rising prompts, and the most tokens that it answers with (None: not known).
    `services` are prices of other `service_tier`s, by their names."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    max_output: int | None = None
    services: Mapping[str, Price] = field(default_factory=dict)
    #: What follows from the rates: each request asks for it twice.
    _steps: tuple[_Step, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the rates that the missing ones stand for."""
        steps = (Tier(-1, self.rates), *self.tiers)
        object.__setattr__(self, "_steps", tuple([_make_step(tier) for tier in steps]))

    def for_service(self, name: object) -> Price:
        """Return the price at a `service_tier`, as a request or a usage names it; this one where it has no other."""
        return self.services.get(name, self) if isinstance(name, str) else self

    def cost(self, counts: TokenCounts) -> int | None:
        """Return what tokens cost, in billionths; None if a kind among them has no price."""
        total, steps = 0, self._steps
        step = steps[0] if len(steps) == 1 else self._step_at(counts.prompt)
        for count, rate in zip(_split(counts), step.rates, strict=True):
            if count:
                if rate is None:
                    return None
                total += count * rate
        return _round_up(total)

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the most that a request may cost whose prompt is estimated and whose completion is bounded, in
        billionths; None if it has no price.

        The rates are those of twice the prompt: an estimate just below a tier would otherwise reserve half of what is
        charged. A prompt may be written to a cache, a completion be all thoughts.
        """
        most = 0
        for above, _, of_input, of_output in self._steps:
            if 2 * prompt_tokens <= above:
                break
            if (prompt_tokens and of_input is None) or (completion_tokens and of_output is None):
                return None
            most = max(most, prompt_tokens * (of_input or 0) + completion_tokens * (of_output or 0))
        return _round_up(most)

    def _step_at(self, prompt_tokens: int) -> _Step:
        found = self._steps[0]
        for step in self._steps[1:]:
            if prompt_tokens > step.above:
                found = step
        return found


def _split(counts: TokenCounts) -> tuple[int, ...]:
    """Return the tokens of each kind, in the order of TokenKind."""
    prompt, completion, cached, written, written_1h, prompt_audio, reasoning, completion_audio = counts
    return (
        prompt - cached - written - prompt_audio,
        cached,
        written - written_1h,
        written_1h,
        prompt_audio,
        completion - reasoning - completion_audio,
        reasoning,
        completion_audio,
    )


def _make_step(tier: Tier) -> _Step:
    rates = {kind: _rate(tier.rates, kind) for kind in TokenKind}
    return _Step(tier.above, tuple(rates.values()), _dearest(rates, _PROMPT_KINDS), _dearest(rates, _COMPLETION_KINDS))


def _dearest(rates: Mapping[TokenKind, int | None], kinds: tuple[TokenKind, ...]) -> int | None:
    return max((rate for kind in kinds if (rate := rates[kind]) is not None), default=None)


def _rate(rates: Rates, kind: TokenKind) -> int | None:
    while kind not in rates:
        if kind not in _INSTEAD:
            return None
        kind = _INSTEAD[kind]
    return rates[kind]


def _round_up(millionths: int) -> int:
    return -(-millionths // MILLION)
