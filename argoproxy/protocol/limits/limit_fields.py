"""Limits as operators write them, in the config file, as flags and in JSON: `rpm: 60`, `budget: 5/month`.

Each parser raises ValueError with a message that is put behind the name of the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limits import NO_LIMITS_SET, Budget, Limits, Period, Reserve
from argoproxy.protocol.prices.money import parse_amount

#: In units of a limit. A bucket counts in 1/60,000,000 of one, in 64 bits.
MOST = 1_000_000_000
#: Each pattern that matches is a counter of its own, which a request changes.
MOST_PATTERNS = 50
LONGEST_PATTERN = 200

_DIGITS = re.compile(r"[0-9]{1,10}")


def parse_count(value: Any) -> int:
    """Parse a number of requests or tokens; a fraction is a mistake."""
    digits = str(value).strip()
    if isinstance(value, bool) or not _DIGITS.fullmatch(digits) or int(digits) > MOST:
        raise ValueError(f"must be a whole number from 0 to {MOST}")
    return int(digits)


def parse_budget(value: Any) -> Budget:
    """Parse an amount of money for a period."""
    amount, slash, period = str(value).partition("/")
    if not slash or period.strip().lower() not in list(Period):
        raise ValueError("must be an amount and its period: 0.50/day, 20/week, 5/month or 100/total")
    return Budget(parse_amount(amount), Period(period.strip().lower()))


def parse_reserve(value: Any) -> Reserve:
    """Parse which output is reserved."""
    try:
        return Reserve(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Reserve)}") from None


def parse_pattern(value: Any) -> str:
    """Parse the pattern of the models that limits hold for."""
    pattern = str(value).strip()
    if not pattern or len(pattern) > LONGEST_PATTERN or not pattern.isprintable():
        raise ValueError(f"must name models by patterns of up to {LONGEST_PATTERN} printable characters")
    return pattern


def parse_model_limits(value: Any) -> tuple[tuple[str, Limits], ...]:
    """Parse further limits by patterns of models: `{"gpt-*": {"rpm": 5}}`."""
    return _change_models((), value)


def join_models(limits: Iterable[tuple[str, Limits]]) -> tuple[tuple[str, Limits], ...]:
    """Return limits by patterns of models, without those that set nothing."""
    kept = tuple((pattern, one) for pattern, one in limits if one)
    if len(kept) > MOST_PATTERNS:
        raise ValueError(f"must hold at most {MOST_PATTERNS} patterns")
    return kept


#: What a limit may be set for, in the order in which operators read it.
LIMIT_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "rpm": parse_count,
    "tpm": parse_count,
    "concurrent": parse_count,
    "budget": parse_budget,
}
#: The fields of a key or a team.
HOLDER_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    **LIMIT_FIELDS,
    "model_limits": parse_model_limits,
    "reserve": parse_reserve,
}
_MODELS = "model_limits"


def make_limits(fields: Mapping[str, Any]) -> Limits:
    """Return the limits of fields that are parsed; others than those of limits are left alone."""
    values = {_attribute_of(name): fields[name] for name in HOLDER_FIELDS if name in fields}
    return Limits(**values)


def parse_limits(fields: Mapping[str, Any]) -> Limits:
    """Parse the limits of a key or a team, as `format_limits` writes them."""
    if not fields:
        return NO_LIMITS_SET
    return make_limits({name: _parser_of(name)(value) for name, value in fields.items() if value is not None})


def change_limit(limits: Limits, name: str, value: Any) -> Limits:
    """Return limits with one field of a key or a team set; None takes it away. Of `model_limits`, patterns and fields
    that the value does not name stay as they are."""
    if value is None:
        return replace(limits, **{_attribute_of(name): getattr(NO_LIMITS_SET, _attribute_of(name))})
    if name == _MODELS:
        return replace(limits, models=_change_models(limits.models, value))
    return replace(limits, **{name: _parser_of(name)(value)})


def format_limits(limits: Limits) -> Json:
    """Return the fields that are set, of types that JSON has."""
    if limits is NO_LIMITS_SET:
        return {}
    budget = limits.budget and str(limits.budget)
    models = {pattern: format_limits(one) for pattern, one in limits.models}
    reserve = limits.reserve and str(limits.reserve)
    values = (limits.rpm, limits.tpm, limits.concurrent, budget, models or None, reserve)
    return {name: value for name, value in zip(HOLDER_FIELDS, values, strict=True) if value is not None}


def find_changed_limits(before: Limits, after: Limits) -> tuple[str, ...]:
    """Return the names of the fields that differ."""
    return tuple(
        name for name in HOLDER_FIELDS if getattr(before, _attribute_of(name)) != getattr(after, _attribute_of(name))
    )


def _parser_of(name: str) -> Callable[[Any], Any]:
    if name not in HOLDER_FIELDS:
        raise ValueError(f"holds {name[:80]!r}, which is not one of {', '.join(HOLDER_FIELDS)}")
    return HOLDER_FIELDS[name]


def _attribute_of(name: str) -> str:
    return "models" if name == _MODELS else name


def _change_models(models: Iterable[tuple[str, Limits]], value: Any) -> tuple[tuple[str, Limits], ...]:
    if not isinstance(value, dict):
        raise ValueError('must be a mapping of patterns to limits: {"gpt-*": {"rpm": 5}}')  # noqa: TRY004 as all parsers
    changed = dict(models)
    for key, fields in value.items():
        pattern = parse_pattern(key)
        changed[pattern] = _change_model(changed.get(pattern, NO_LIMITS_SET), pattern, fields)
    return join_models(changed.items())


def _change_model(limits: Limits, pattern: str, fields: Any) -> Limits:
    """Return the limits of a pattern with fields changed; all are taken away by None."""
    if fields is None:
        return NO_LIMITS_SET
    if not isinstance(fields, dict) or not fields.keys() <= LIMIT_FIELDS.keys():
        raise ValueError(f"holds {pattern[:80]!r}, which must be a mapping of {', '.join(LIMIT_FIELDS)}")
    for name, value in fields.items():
        try:
            limits = change_limit(limits, name, value)
        except ValueError as error:
            raise ValueError(f"holds {pattern[:80]!r}, whose {name} {error}") from None
    return limits
