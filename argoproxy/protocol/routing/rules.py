"""Rules of models: which there are, which of them counts for a name, and what it makes of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any, Self

from argoproxy.protocol.content import with_text_for_the_user
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, TagPair
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode
from argoproxy.protocol.routing.timeouts import TimeoutOverrides
from argoproxy.protocol.stream.chunk_fields import AnswerModel

DEFAULT = "default"


class History(StrEnum):
    """What becomes of the thoughts that a client sends back with what was said before."""

    STRIP = "strip"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done for one model. `name` is a name, a pattern (`qwen*`) or `default`; what is None or empty leaves a
    thing alone. `upstreams` names who answers, best first."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    upstream_model_name: str | None = None
    append_to_last_user_message: str | None = None
    enable_think_tag_filtering: bool | None = None
    think_tag_start: str | tuple[str, ...] | None = None
    think_tag_end: str | tuple[str, ...] | None = None
    upstreams: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    timeouts: TimeoutOverrides = TimeoutOverrides()
    mode: Mode | None = None
    reasoning: Reasoning | None = None
    reasoning_field: str | None = None
    think_starts_open: Opening | None = None
    history: History | None = None
    answer_model: AnswerModel | None = None

    @property
    def is_pattern(self) -> bool:
        return any(character in self.name for character in "*?[")

    @property
    def is_pseudo_model(self) -> bool:
        """Whether the name is one of ours: an alias with settings of its own."""
        return self.upstream_model_name is not None and not self.is_pattern and self.name != DEFAULT

    @property
    def sets_nothing(self) -> bool:
        return self == Rule(self.name)

    @property
    def leaves_calls_alone(self) -> bool:
        """Whether a call goes up as it came."""
        changes = (self.params, self.defaults, self.remove, self.append_to_last_user_message)
        return not any(changes) and self.upstream_model_name is None

    def tags(self, otherwise: TagPair) -> tuple[TagPair, ...]:
        """Give the pairs of tags; where a side is not said it is as otherwise."""
        starts, ends = _listed(self.think_tag_start, otherwise.start), _listed(self.think_tag_end, otherwise.end)
        if len(ends) == 1:
            ends *= len(starts)
        return tuple(TagPair(start, end) for start, end in zip(starts, ends, strict=False))

    def merged_over(self, weaker: Rule) -> Self:
        """Give what both say together; where both say a thing, this one counts."""
        said = {one.name: _joined(getattr(self, one.name), getattr(weaker, one.name)) for one in fields(self)}
        return type(self)(**said)

    def apply(self, call: Call) -> Call:
        """Give the call as the rule wants it; the very same one when it is so already."""
        if self.leaves_calls_alone:
            return call
        kept = {key: value for key, value in call.body.items() if key not in self.remove}
        filled = {key: value for key, value in self.defaults.items() if kept.get(key) is None}
        body: Json = {**kept, **filled, **self.params}
        if self.upstream_model_name is not None:
            body["model"] = self.upstream_model_name
        if self.append_to_last_user_message and isinstance(body.get("messages"), list):
            body["messages"] = with_text_for_the_user(body["messages"], self.append_to_last_user_message)
        return call.with_body(body)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one source, in their order."""

    source: str
    rules: Sequence[Rule] = ()

    def rule_of(self, aliases: Sequence[str]) -> Rule | None:
        """Find the rule of a model by its names: an exact name beats a pattern, then the name as asked its others,
        then order."""
        if not self.rules:
            return None
        named = (rule for name in aliases for rule in self.rules if rule.name == name)
        patterns = [rule for rule in self.rules if rule.is_pattern]
        matching = (rule for name in aliases for rule in patterns if fnmatchcase(name, rule.name))
        return next(named, None) or next(matching, None)

    @property
    def default(self) -> Rule | None:
        """The rule of models that no other one is for."""
        return next((rule for rule in self.rules if rule.name == DEFAULT), None)


@dataclass(frozen=True, slots=True)
class MatchedRules:
    """The rules that count for a model, the strongest first, each with where it stands."""

    matches: tuple[tuple[str, Rule], ...]

    def combine(self) -> Rule:
        """Give what they say together."""
        rules = [rule for _, rule in self.matches] or [Rule("")]
        return reduce(Rule.merged_over, rules)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a process: the sets, the strongest first. What a stronger rule_set says of a thing hides what a weaker
    one says of it; default rules count where no other one does, in whatever rule_set."""

    sets: Sequence[RuleSet] = ()

    def __iter__(self) -> Iterator[Rule]:
        return (rule for rule_set in self.sets for rule in rule_set.rules)

    def for_model(self, aliases: Sequence[str]) -> MatchedRules:
        """Find the rules that name a model, or match its name."""
        found = ((rule_set.source, rule_set.rule_of(aliases)) for rule_set in self.sets)
        return MatchedRules(tuple((source, rule) for source, rule in found if rule))

    def default(self) -> MatchedRules:
        """Find the rules of models that no other one is for."""
        found = ((rule_set.source, rule_set.default) for rule_set in self.sets)
        return MatchedRules(tuple((source, rule) for source, rule in found if rule))


def _listed(said: str | tuple[str, ...] | None, otherwise: str) -> tuple[str, ...]:
    return (said or otherwise,) if isinstance(said, str | None) else said


def _joined(said: Any, before: Any) -> Any:
    if isinstance(said, Mapping):
        return {**before, **said}
    if isinstance(said, TimeoutOverrides):
        return said.merged_over(before)
    return before if said is None or said == () else said
