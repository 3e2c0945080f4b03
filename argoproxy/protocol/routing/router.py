"""Routing: which upstreams can answer a request for a model, in which order, and with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Self

from argoproxy.errors import BadRequest
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.reasoning.history import strip_history
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.resilience.balance import Balancing
from argoproxy.protocol.resilience.resilience_settings import ResilienceSettings
from argoproxy.protocol.resilience.waiting import PlaceLimits
from argoproxy.protocol.routing.call import LONGEST_MODEL, Call
from argoproxy.protocol.routing.modes import Mode, Usage, apply_mode, requested_mode
from argoproxy.protocol.routing.route import Provider, Route, UpstreamT
from argoproxy.protocol.routing.rules import History, MatchedRules, Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.protocol.stream.chunk_fields import AnswerModel

#: Paths with both forms of answers: streams and whole documents.
COMPLETION_PATHS = ("/v1/chat/completions", "/v1/completions")


@dataclass(frozen=True, slots=True)
class Plan(Generic[UpstreamT]):
    """How calls for one model are served, as far as it is the same for all of them. `timeouts`, `resilience`,
    `limits` and `subjects` are in the order of the providers; `changes_calls` says whether the rule may make another
    call of one."""

    rule: Rule
    changes_calls: bool
    providers: Sequence[Provider[UpstreamT]]
    timeouts: Sequence[Timeouts]
    resilience: Sequence[ResilienceSettings]
    limits: Sequence[PlaceLimits | None]
    subjects: Sequence[tuple[LimitedSubject, ...]]
    reasoning: ReasoningSettings
    balancing: Balancing | None
    cache: CachePolicy | None


#: Models whose plan is remembered; clients choose the names.
MAX_PLANS = 500


@dataclass(frozen=True, slots=True)
class Models(Generic[UpstreamT]):
    """The upstreams of a process, the default one first, and the rules that select them."""

    providers: Sequence[Provider[UpstreamT]]
    rules: Rules = Rules()
    tags: TagPair = TagPair()
    think_filter: bool = True
    opening: Opening = Opening.CLOSED
    default_model: str = ""
    answer_model: AnswerModel = AnswerModel.UPSTREAM
    allowed: AllowList = AllowList()
    _plans: dict[tuple[str, str], Plan[UpstreamT]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def default(self) -> Provider[UpstreamT]:
        """The upstream of models that no rule sends to another one."""
        return self.providers[0]

    @property
    def leads_elsewhere(self) -> bool:
        """Whether a rule sends a model to another upstream than the default one."""
        return len(self.providers) > 1 and any(rule.upstreams for rule in self.rules)

    def resolve(self, call: Call) -> tuple[Route[UpstreamT], ...]:
        """Return the routes of a call, best first. Raises BadRequest without a model, ModelNotAllowed."""
        call = self._with_model(call)
        plan = self.plan_for(call.model, call.path)
        return tuple([self._route(plan, index, call) for index in range(len(plan.providers))])

    def balancing_of(self, call: Call) -> Balancing | None:
        """Return how a call that has routes is shared among them; None where their order never changes."""
        return self.plan_for(call.model or self.default_model, call.path).balancing

    def plan_for(self, model: str, path: str) -> Plan[UpstreamT]:
        """Return how calls for a model are served."""
        plan = self._plans.get((model, path))
        if plan is None:
            plan = self._make_plan(self.find_rules(model, path).combine())
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            if len(model) <= LONGEST_MODEL:  # that of a forwarded body may be as long as the body
                self._plans[model, path] = plan
        return plan

    def find_rules(self, model: str, path: str) -> MatchedRules:
        """Return the rules that apply to a model; embeddings have no default rules."""
        matched = self.rules.for_model(self.default.upstream.aliases(model))
        return matched if matched.matches or path == "/v1/embeddings" else self.rules.default()

    def provider_of(self, model: str, path: str = "") -> Provider[UpstreamT]:
        """Return the first upstream for a model; the default one for an empty name."""
        if not model:
            return self.default
        return self.plan_for(model, path).providers[0]

    def serves(self, model: str, upstream: UpstreamT) -> bool:
        """Return whether requests for this model may go to an upstream."""
        return any(provider.upstream.name == upstream.name for provider in self.plan_for(model, "").providers)

    def with_upstream(self, upstream: UpstreamT) -> Self:
        """Return these models with the upstream of the same name replaced by one that knows more names."""
        providers = (
            replace(provider, upstream=upstream) if provider.upstream.name == upstream.name else provider
            for provider in self.providers
        )
        return replace(self, providers=tuple(providers))

    def bound_to(self, provider: Provider[UpstreamT]) -> Self:
        """Return the same rules with all models sent to one upstream."""
        sets = (
            RuleSet(rule_set.source, tuple(replace(rule, upstreams=()) for rule in rule_set.rules))
            for rule_set in self.rules.sets
        )
        return replace(self, providers=(provider,), rules=Rules(tuple(sets)))

    def for_caller(self, allow_lists: Sequence[Sequence[str]]) -> Self:
        """Return these models as a caller may use them. Plans are shared: they are the same for all callers."""
        narrowed = replace(self, allowed=replace(self.allowed, of_caller=allow_lists))
        object.__setattr__(narrowed, "_plans", self._plans)
        return narrowed

    def _make_plan(self, rule: Rule) -> Plan[UpstreamT]:
        providers = self._providers_of(rule)
        timeouts = [provider.timeouts.override(rule.timeouts) for provider in providers]
        changes_calls = not rule.leaves_calls_alone or rule.history is History.STRIP
        resilience = [provider.resilience.override(rule.resilience) for provider in providers]
        pairs = zip(resilience, providers, strict=True)
        limits = [settings.limits_at(provider.upstream.name) for settings, provider in pairs]
        subjects = [tuple(filter(None, (rule.limited, provider.limited))) for provider in providers]
        return Plan(
            rule,
            changes_calls,
            providers,
            timeouts,
            resilience,
            limits,
            subjects,
            self._reasoning(rule),
            rule.balancing,
            rule.cache if rule.cache and rule.cache.is_on else None,
        )

    def _providers_of(self, rule: Rule) -> Sequence[Provider[UpstreamT]]:
        if not rule.upstreams:
            return self.providers[:1]
        by_name = {provider.upstream.name: provider for provider in self.providers}
        return [by_name[name] for name in rule.upstreams]

    def _route(self, plan: Plan[UpstreamT], index: int, call: Call) -> Route[UpstreamT]:
        """Return the route of a call to one of the providers of its plan."""
        rule, provider = plan.rule, plan.providers[index]
        changed = provider.withhold_credentials(call)
        if plan.changes_calls:
            changed = self._apply_rule(rule, changed)
        mode = self._mode(provider, rule, call)
        # A kept stream must have its usage, for those who will ask for it.
        usage = Usage.ALWAYS if plan.cache else provider.usage
        return Route(
            upstream=provider.upstream,
            call=apply_mode(changed, mode, usage) if mode else changed,
            timeouts=plan.timeouts[index].with_request_timeout(call.timeout_s),
            reasoning=plan.reasoning,
            other_mode=usage if mode else None,
            answers_as=call.requested_model if (rule.answer_model or self.answer_model) is AnswerModel.ASKED else "",
            resilience=plan.resilience[index],
            limits=plan.limits[index],
            subjects=plan.subjects[index],
            cache=plan.cache if mode else None,
        )

    def _mode(self, provider: Provider[UpstreamT], rule: Rule, call: Call) -> Mode | None:
        """Return the mode of a completion; None in native mode and for other paths, where nothing is changed."""
        if provider.upstream.is_passthrough or call.path not in COMPLETION_PATHS:
            return None
        return requested_mode(call.headers) or rule.mode or provider.mode

    def _apply_rule(self, rule: Rule, call: Call) -> Call:
        changed, messages = rule.apply(call), call.body.get("messages")
        if rule.history is not History.STRIP or not isinstance(messages, list):
            return changed
        cleaned = strip_history(changed.body["messages"], rule.tags(self.tags))
        return changed.with_body({**changed.body, "messages": cleaned})

    def _reasoning(self, rule: Rule) -> ReasoningSettings:
        policy, is_filtered = rule.reasoning, rule.enable_think_tag_filtering
        if policy is None and not (self.think_filter if is_filtered is None else is_filtered):
            policy = Reasoning.KEEP
        return ReasoningSettings(
            policy,
            rule.reasoning_field or ReasoningSettings().field,
            rule.tags(self.tags),
            rule.think_starts_open or self.opening,
        )

    def _with_model(self, call: Call) -> Call:
        """Return the call with the default model if it names none. Raises BadRequest, ModelNotAllowed."""
        model = call.model
        if not model and self.default_model:
            call, model = call.for_model(self.default_model), self.default_model
        if not model.strip():
            raise BadRequest("`model` must be a non-empty string; /v1/models lists the models.", param="model")
        if self.allowed.is_restricted:
            self.allowed.check(model)
            self.allowed.check_request((call.origin or call).body, (call.origin or call).query)
        return call
