"""The section `models:` of the config file: rules for models, by name or pattern."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from argoproxy.config.cache import parse_cache
from argoproxy.config.limit_section import read_limited
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import (
    choice_parser,
    parse_boolean,
    parse_mapping,
    parse_mode,
    parse_names,
    parse_opening,
    parse_positive,
    parse_text,
    suggest,
)
from argoproxy.config.resilience import RESILIENCE, read_rule_resilience
from argoproxy.config.upstreams import TIMEOUTS, read_timeouts
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.protocol.json_text import JsonError, as_json
from argoproxy.protocol.limits.limit_fields import LIMIT_FIELDS
from argoproxy.protocol.reasoning.policy import Reasoning
from argoproxy.protocol.resilience.balance import Balance
from argoproxy.protocol.routing.rules import History, Rule
from argoproxy.protocol.stream.chunk_fields import AnswerModel

EnumT = TypeVar("EnumT", bound=StrEnum)

#: Fields in which providers send thoughts.
REASONING_FIELDS = ("reasoning_content", "reasoning")
#: Parameters for which a rule has keys of its own.
_KEY_INSTEAD = {"model": "upstream_model_name", "timeout": "timeout"}
_REQUIRED = ("model", "messages")


def parse_parameters(value: Any) -> Mapping[str, Any]:
    """Parse request parameters, as JSON has them."""
    mapping = parse_mapping(value)
    for key, instead in _KEY_INSTEAD.items():
        if key in mapping:
            raise ValueError(f"must not hold {key!r}; use the key `{instead}` of the rule")
    try:
        parameters: Mapping[str, Any] = as_json(mapping)
    except JsonError as error:
        raise ValueError(f"holds what JSON cannot represent: {error}") from None
    return parameters


def parse_removed_names(value: Any) -> tuple[str, ...]:
    """Parse names of parameters that are removed; some are required in every request."""
    names = parse_names(value)
    if required := [name for name in names if name in _REQUIRED]:
        raise ValueError(f"must not list {required[0]!r}: requests need it")
    return names


def parse_exact_text(value: Any) -> str:
    """Parse a text, white space included."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def enum_parser(kinds: type[EnumT]) -> Parser:
    """Return a parser of the members of an enum, by their values."""
    parse = choice_parser([str(kind.value) for kind in kinds])
    return lambda value: kinds(parse(value))


def parse_tags(value: Any) -> str | tuple[str, ...]:
    """Parse a tag, or a list of them."""
    return tuple(map(parse_text, value)) if isinstance(value, list) and value else parse_text(value)


_PARSERS: Mapping[str, Parser] = {
    "upstream": parse_names,
    "upstream_model_name": parse_text,
    "params": parse_parameters,
    "defaults": parse_parameters,
    "remove": parse_removed_names,
    "append_to_last_user_message": parse_exact_text,
    "enable_think_tag_filtering": parse_boolean,
    "think_tag_start": parse_tags,
    "think_tag_end": parse_tags,
    "reasoning": enum_parser(Reasoning),
    "reasoning_field": choice_parser(REASONING_FIELDS),
    "think_starts_open": parse_opening,
    "history": enum_parser(History),
    "answer_model": enum_parser(AnswerModel),
    "mode": parse_mode,
    "balance": enum_parser(Balance),
    "weights": parse_mapping,
    "cache": parse_cache,
    **TIMEOUTS,
    **RESILIENCE,
    **LIMIT_FIELDS,
}
#: Keys that are fields of a rule as they are.
_RULE_FIELDS = (
    "upstream_model_name",
    "append_to_last_user_message",
    "enable_think_tag_filtering",
    "think_tag_start",
    "think_tag_end",
    "reasoning",
    "reasoning_field",
    "think_starts_open",
    "history",
    "answer_model",
    "mode",
    "balance",
    "cache",
)


def read_rules(values: ConfigValues, passthrough: Mapping[str, bool]) -> tuple[Rule, ...]:
    """Read the section; mistakes are added to those of the values. `passthrough` tells of each upstream, by its name,
    whether its replies are passed on unchanged."""
    return tuple(_read_rule(section, passthrough) for section in Section.of(values, "models").members())


def _read_rule(section: Section, passthrough: Mapping[str, bool]) -> Rule:
    options = section.parse(_PARSERS)
    rule = Rule(
        name=section.name,
        upstreams=_read_upstream_names(section, options.get("upstream", ()), passthrough),
        params=options.get("params", {}),
        defaults=options.get("defaults", {}),
        remove=options.get("remove", ()),
        timeouts=read_timeouts(options),
        resilience=read_rule_resilience(section.name, options),
        weights=_read_weights(section, options),
        limited=read_limited("model", section, options),
        **{key: options[key] for key in _RULE_FIELDS if key in options},
    )
    starts, ends = (tag if isinstance(tag, tuple) else (tag,) for tag in (rule.think_tag_start, rule.think_tag_end))
    if (len(starts) != len(ends) and len(ends) > 1) or (len(starts) > 1 and ends == (None,)):
        section.mistake("must hold as many tags as think_tag_start", "think_tag_end")
    if rule.cache and rule.upstreams and passthrough[rule.upstreams[0]]:
        section.warning("has no effect: answers of native upstreams are passed on as they are", "cache")
    if rule.sets_nothing:
        section.warning("sets nothing")
    return rule


def _read_upstream_names(section: Section, names: Collection[str], passthrough: Mapping[str, bool]) -> tuple[str, ...]:
    unused = section.names_beside("upstreams")
    if names and not unused.isdisjoint(names) and unused.isdisjoint(passthrough):
        section.warning("has no effect: the upstreams of the file are not used", "upstream")
        return ()
    known = [name for name in names if name in passthrough]
    for name in names:
        if name not in passthrough:
            others = ", ".join(passthrough)
            hint = suggest(name, list(passthrough))
            section.mistake(f"names {name!r}, which is not an upstream; there are {others}{hint}", "upstream")
    if len(set(names)) < len(names):
        section.mistake("names an upstream twice", "upstream")
    if len({passthrough[name] for name in known}) > 1:
        section.mistake("names native upstreams together with others; a rule may hold either", "upstream")
    return tuple(known)


def _read_weights(section: Section, options: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the weights of a rule's upstreams, and check what is set beside them."""
    balance, names = options.get("balance", Balance.ORDERED), options.get("upstream", ())
    if balance is not Balance.ORDERED and len(names) < 2:
        section.warning("has no effect: the rule has only one upstream", "balance")
    if "weights" not in options:
        return {}
    if options.get("balance", section.value_of("balance") or Balance.ORDERED) is Balance.ORDERED:
        others = ", ".join(other for other in Balance if other is not Balance.ORDERED)
        section.mistake(f"has no effect without `balance`: one of {others}", "weights")
    return {name: _read_weight(section, name, value, names) for name, value in options["weights"].items()}


def _read_weight(section: Section, name: str, value: Any, upstreams: Sequence[str]) -> float:
    if name not in upstreams:
        others = f"{', '.join(upstreams)}{suggest(name, upstreams)}" if upstreams else "none"
        section.mistake(f"is the weight of no upstream of this rule; there are {others}", "weights", name)
    try:
        return parse_positive(value)
    except ValueError as error:
        section.mistake(f"{str(value)!r} {error}", "weights", name)
        return 1.0
