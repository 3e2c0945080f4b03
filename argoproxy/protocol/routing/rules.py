"""Rules for models: how they are matched with names and merged, and how they change a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any, Self

from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.content import with_text_for_the_user
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, TagPair
from argoproxy.protocol.resilience.balance import Balance, Balancing
from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode
from argoproxy.protocol.routing.timeouts import TimeoutOverrides
from argoproxy.protocol.stream.chunk_fields import AnswerModel

DEFAULT = "default"
#: What stays in a request of another API: without these it is none, or is answered in another form than asked for.
_ESSENTIAL = frozenset(("input", "messages", "stream"))


class History(StrEnum):
    """What is done with the reasoning in earlier messages, which a client sends back."""

    STRIP = "strip"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Rule:
    """Settings for one model. `name` is a name, a pattern (`qwen*`) or `default`; None and empty values change nothing.
    `upstreams` are names, the preferred one first unless `balance` says otherwise; `weights` are by their names."""

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
    resilience: ResilienceOverrides = ResilienceOverrides()
    mode: Mode | None = None
    reasoning: Reasoning | None = None
    reasoning_field: str | None = None
    think_starts_open: Opening | None = None
    history: History | None = None
    answer_model: AnswerModel | None = None
    balance: Balance | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    #: Its limits on requests, tokens and money, if any are set.
    limited: LimitedSubject | None = None
    cache: CachePolicy | None = None

    @property
    def is_pattern(self) -> bool:
        return any(character in self.name for character in "*?[")

    @property
    def is_pseudo_model(self) -> bool:
        """Whether the name is made up here: an alias with settings of its own, which /v1/models lists."""
        return self.upstream_model_name is not None and not self.is_pattern and self.name != DEFAULT

    @property
    def sets_nothing(self) -> bool:
        return self == Rule(self.name)

    @property
    def leaves_calls_alone(self) -> bool:
        """Whether the rule does not change calls."""
        changes = (self.params, self.defaults, self.remove, self.append_to_last_user_message)
        return not any(changes) and self.upstream_model_name is None

    @property
    def balancing(self) -> Balancing | None:
        """How it chooses between its upstreams; None where their order never changes."""
        if self.balance in (None, Balance.ORDERED) or len(self.upstreams) < 2:
            return None
        return Balancing(self.balance, self.weights)

    def tags(self, otherwise: TagPair) -> tuple[TagPair, ...]:
        """Return the pairs of tags; a missing side is taken from `otherwise`."""
        starts, ends = _as_tuple(self.think_tag_start, otherwise.start), _as_tuple(self.think_tag_end, otherwise.end)
        if len(ends) == 1:
            ends *= len(starts)
        return tuple(TagPair(start, end) for start, end in zip(starts, ends, strict=False))

    def merged_over(self, weaker: Rule) -> Self:
        """Return both rules as one; where both set a value, that of this rule counts."""
        values = {one.name: _merge(getattr(self, one.name), getattr(weaker, one.name)) for one in fields(self)}
        return type(self)(**values)

    def apply(self, call: Call) -> Call:
        """Return the call with the rule's changes; the same object if nothing changes. A call that was converted may
        be sent as its client made it: `remove` counts there too, and parameters that it has get no default."""
        if self.leaves_calls_alone:
            return call
        origin = call.origin and self._edit_origin(call.origin)
        kept = {key: value for key, value in call.body.items() if key not in self.remove}
        said = {**origin.body, **kept} if origin else kept
        filled = {key: value for key, value in self.defaults.items() if said.get(key) is None}
        body: Json = {**kept, **filled, **self.params}
        if self.upstream_model_name is not None:
            body["model"] = self.upstream_model_name
        if self.append_to_last_user_message and isinstance(body.get("messages"), list):
            body["messages"] = with_text_for_the_user(body["messages"], self.append_to_last_user_message)
        changed = call.with_body(body)
        return changed if origin is call.origin else replace(changed, origin=origin)

    def _edit_origin(self, origin: Call) -> Call:
        removed = set(self.remove) - _ESSENTIAL
        return origin.with_body({key: value for key, value in origin.body.items() if key not in removed})


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one source, LLM_PARAMS or the config file, in their order."""

    source: str
    rules: Sequence[Rule] = ()

    def rule_of(self, aliases: Sequence[str]) -> Rule | None:
        """Return the rule of a model with these names. An exact name beats a pattern; then the requested name, which is
        the first, beats its aliases; then the first rule counts."""
        if not self.rules:
            return None
        exact = (rule for name in aliases for rule in self.rules if rule.name == name)
        patterns = [rule for rule in self.rules if rule.is_pattern]
        matching = (rule for name in aliases for rule in patterns if fnmatchcase(name, rule.name))
        return next(exact, None) or next(matching, None)

    @property
    def default(self) -> Rule | None:
        """The rule for models without another one."""
        return next((rule for rule in self.rules if rule.name == DEFAULT), None)


@dataclass(frozen=True, slots=True)
class MatchedRules:
    """The rules that apply to a model, the strongest first, each with its source."""

    matches: tuple[tuple[str, Rule], ...]

    def combine(self) -> Rule:
        """Return them as one rule."""
        rules = [rule for _, rule in self.matches] or [Rule("")]
        return reduce(Rule.merged_over, rules)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a process: the strongest set first. A value in a stronger set hides that in a weaker one. Default
    rules apply only to models for which no set has another rule."""

    sets: Sequence[RuleSet] = ()

    def __iter__(self) -> Iterator[Rule]:
        return (rule for rule_set in self.sets for rule in rule_set.rules)

    @property
    def spared_upstreams(self) -> frozenset[str]:
        """The names of the upstreams that have a spare for some model."""
        return frozenset(name for rule in self if len(rule.upstreams) > 1 for name in rule.upstreams)

    def for_model(self, aliases: Sequence[str]) -> MatchedRules:
        """Return the rules that match one of a model's names."""
        rules = ((rule_set.source, rule_set.rule_of(aliases)) for rule_set in self.sets)
        return MatchedRules(tuple((source, rule) for source, rule in rules if rule))

    def default(self) -> MatchedRules:
        """Return the default rules."""
        rules = ((rule_set.source, rule_set.default) for rule_set in self.sets)
        return MatchedRules(tuple((source, rule) for source, rule in rules if rule))


def _as_tuple(tags: str | tuple[str, ...] | None, otherwise: str) -> tuple[str, ...]:
    return (tags or otherwise,) if isinstance(tags, str | None) else tags


def _merge(value: Any, weaker: Any) -> Any:
    if isinstance(value, Mapping):
        return {**weaker, **value}
    if isinstance(value, TimeoutOverrides | ResilienceOverrides):
        return value.merged_over(weaker)
    return weaker if value is None or value == () else value
