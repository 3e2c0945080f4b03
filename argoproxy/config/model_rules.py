"""The section `models:` of the config file: rules for models, by name or pattern."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from argoproxy.config.upstreams import TIMEOUTS, wished_timeouts
from argoproxy.config.values.layers import Given
from argoproxy.config.values.parsers import boolean, mapping, mode, names, one_of, opening, suggestion, text
from argoproxy.config.values.section import Reader, Section
from argoproxy.protocol.json_text import JsonError, as_json
from argoproxy.protocol.reasoning.policy import Reasoning
from argoproxy.protocol.routing.modes import Mode
from argoproxy.protocol.routing.rules import History, Rule
from argoproxy.protocol.stream.chunk_fields import AnswerModel

EnumT = TypeVar("EnumT", bound=StrEnum)

#: Fields in which providers tell thoughts.
FIELDS = ("reasoning_content", "reasoning")
#: What a rule has keys of its own for, or what makes a request what it is.
_NO_PARAMETERS = {"model": "upstream_model_name", "timeout": "timeout"}
_NEEDED = ("model", "messages")


def parameters(value: Any) -> Mapping[str, Any]:
    """Read parameters of requests, as JSON has them. Raises ValueError."""
    read = mapping(value)
    for key, instead in _NO_PARAMETERS.items():
        if key in read:
            raise ValueError(f"holds {key!r}, for which there is the key `{instead}`")
    try:
        made: Mapping[str, Any] = as_json(read)
    except JsonError as error:
        raise ValueError(f"holds what JSON can't: {error}") from None
    return made


def removable(value: Any) -> tuple[str, ...]:
    """Read names of parameters that a request can do without. Raises ValueError."""
    read = names(value)
    if needed := [name for name in read if name in _NEEDED]:
        raise ValueError(f"holds {needed[0]!r}, without which a request is none")
    return read


def spoken_text(value: Any) -> str:
    """Read a text, blanks and all. Raises ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError("is no text")
    return value


def mode_of_rule(value: Any) -> Mode:
    """Read a mode. Raises ValueError."""
    return Mode(mode(value))


def a_kind_of(kinds: type[EnumT]) -> Reader:
    """Make a reader of one of some kinds, by its name."""
    names = [str(kind.value) for kind in kinds]
    read = one_of(names)
    return lambda value: kinds(read(value))


def tags(value: Any) -> str | tuple[str, ...]:
    """Read a tag, or a list of them. Raises ValueError."""
    return tuple(map(text, value)) if isinstance(value, list) and value else text(value)


_READERS: Mapping[str, Reader] = {
    "upstream": names,
    "upstream_model_name": text,
    "params": parameters,
    "defaults": parameters,
    "remove": removable,
    "append_to_last_user_message": spoken_text,
    "enable_think_tag_filtering": boolean,
    "think_tag_start": tags,
    "think_tag_end": tags,
    "reasoning": a_kind_of(Reasoning),
    "reasoning_field": one_of(FIELDS),
    "think_starts_open": opening,
    "history": a_kind_of(History),
    "answer_model": a_kind_of(AnswerModel),
    "mode": mode_of_rule,
    **TIMEOUTS,
}
_OF_THE_RULE = (
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
)


def read_rules(given: Given, native: Mapping[str, bool]) -> tuple[Rule, ...]:
    """Read the section; what is wrong in it is added to the mistakes. `native` tells of each upstream, by its name,
    whether its replies are left as they are."""
    return tuple(_rule(section, native) for section in Section.of(given, "models").members())


def _rule(section: Section, native: Mapping[str, bool]) -> Rule:
    read = section.read(_READERS)
    rule = Rule(
        name=section.name,
        upstreams=_upstreams(section, read.get("upstream", ()), native),
        params=read.get("params", {}),
        defaults=read.get("defaults", {}),
        remove=read.get("remove", ()),
        timeouts=wished_timeouts(read),
        **{key: read[key] for key in _OF_THE_RULE if key in read},
    )
    starts, ends = (said if isinstance(said, tuple) else (said,) for said in (rule.think_tag_start, rule.think_tag_end))
    if (len(starts) != len(ends) and len(ends) > 1) or (len(starts) > 1 and ends == (None,)):
        section.mistake("names tags that are no pairs: as many ends as starts are needed", "think_tag_end")
    if rule.sets_nothing:
        section.warning("sets nothing")
    return rule


def _upstreams(section: Section, named: Collection[str], native: Mapping[str, bool]) -> tuple[str, ...]:
    unused = section.names_beside("upstreams")
    if named and not unused.isdisjoint(named) and unused.isdisjoint(native):
        section.warning("does not count: the upstreams of the file are not used", "upstream")
        return ()
    known = [name for name in named if name in native]
    for name in named:
        if name not in native:
            others = ", ".join(native)
            section.mistake(
                f"leads to {name!r}, but there are only {others}{suggestion(name, list(native))}", "upstream"
            )
    if len(set(named)) < len(named):
        section.mistake("names an upstream twice", "upstream")
    if len({native[name] for name in known}) > 1:
        section.mistake("names native upstreams beside others, whose answers are read", "upstream")
    return tuple(known)
