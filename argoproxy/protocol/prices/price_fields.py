"""A price as operators write it: `{input: 3, cached_input: 0.30, output: 15, tiers: [{above: 200000, input: 6}]}`, a
million tokens. Each parser raises ValueError with a message that is put behind the name of the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from argoproxy.protocol.prices.money import format_amount, parse_amount
from argoproxy.protocol.prices.price import Price, Rates, Tier, TokenKind

MOST_TIERS = 10
_KINDS = tuple(kind.value for kind in TokenKind)
FIELDS = (*_KINDS, "max_output", "tiers", "service_tiers")


def parse_price(value: Any) -> Price:
    """Parse the price of a model."""
    fields = _parse_mapping(value, FIELDS)
    if "input" not in fields:
        raise ValueError("needs `input`, the price of a million tokens of the prompt")
    rates = _parse_rates(fields)
    max_output = fields.get("max_output")
    most = None if max_output is None else _parse_tokens("max_output", max_output)
    return Price(rates, _parse_tiers(fields, rates), most, _parse_services(fields.get("service_tiers"), rates, most))


def _parse_services(value: Any, rates: Rates, max_output: int | None) -> dict[str, Price]:
    """Parse prices of other tiers of service; what they do not set costs as much as usual."""
    services: dict[str, Price] = {}
    if value is not None and not isinstance(value, dict):
        raise ValueError("service_tiers must be a mapping such as {flex: {input: 1.5}}")
    for name, part in (value or {}).items():
        try:
            fields = _parse_mapping(part, (*_KINDS, "tiers"))
            own = {**rates, **_parse_rates(fields)}
            services[str(name)] = Price(own, _parse_tiers(fields, own), max_output)
        except ValueError as error:
            raise ValueError(f"service_tiers.{name} {error}") from None
    return services


def _parse_tiers(fields: Mapping[str, Any], rates: Rates) -> tuple[Tier, ...]:
    tiers = fields.get("tiers")
    if tiers is not None and not (isinstance(tiers, list) and len(tiers) <= MOST_TIERS):
        raise ValueError(f"tiers must be a list of up to {MOST_TIERS}")
    steps = tuple(_parse_tier(tier, rates, index) for index, tier in enumerate(tiers or ()))
    limits = [step.above for step in steps]
    if limits != sorted(set(limits)):
        raise ValueError("tiers must rise: each `above` is more than the one before it")
    return steps


def format_price(price: Price) -> dict[str, Any]:
    """Return a price as `parse_price` reads it, amounts as exact text."""
    fields: dict[str, Any] = _format_rates(price.rates)
    if price.max_output is not None:
        fields["max_output"] = price.max_output
    if price.tiers:
        fields["tiers"] = [{"above": tier.above, **_format_rates(tier.rates)} for tier in price.tiers]
    if price.services:
        without_output = {name: replace(service, max_output=None) for name, service in price.services.items()}
        fields["service_tiers"] = {name: format_price(service) for name, service in without_output.items()}
    return fields


def _format_rates(rates: Rates) -> dict[str, str]:
    return {str(kind): format_amount(rates[kind]) for kind in TokenKind if kind in rates}


def _parse_tier(value: Any, rates: Rates, index: int) -> Tier:
    """Parse a tier; what it does not set costs as much as below it."""
    try:
        fields = _parse_mapping(value, ("above", *_KINDS))
        if "above" not in fields or len(fields) < 2:
            raise ValueError("needs `above`, a number of tokens, and the prices that differ")  # noqa: TRY301 it is short
        above = _parse_tokens("above", fields["above"])
        return Tier(above, {**rates, **_parse_rates(fields)})
    except ValueError as error:
        raise ValueError(f"tiers[{index}] {error}") from None


def _parse_mapping(value: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping such as {input: 3, output: 15}, a million tokens")  # noqa: TRY004 as all parsers
    for name in value:
        if name not in names:
            raise ValueError(f"holds {str(name)[:80]!r}, which is none of {', '.join(names)}")
    return {name: part for name, part in value.items() if part is not None}


def _parse_rates(fields: Mapping[str, Any]) -> Rates:
    rates = {}
    for kind in TokenKind:
        if kind.value in fields:
            try:
                rates[kind] = parse_amount(fields[kind.value])
            except ValueError as error:
                raise ValueError(f"{kind} {error}") from None
    return rates


def _parse_tokens(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} must be a number of tokens above 0")
    return value
