"""Names of models and the rules behind them: which upstream answers, as which model, with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Generic, Protocol, TypeVar

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.allowance import AllowList
from argoproxy.protocol.call import Call
from argoproxy.protocol.chunks import Json
from argoproxy.protocol.content import with_text_for_the_user
from argoproxy.protocol.sse import Document
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.timeouts import Timeouts


class Named(Protocol):
    """What has models with names."""

    def spellings(self, model: str) -> Sequence[str]:
        """Give a model's name and the other names of the same model."""

    def own_models(self, created: int) -> Sequence[Json]:
        """Give entries of the models it has even when it can't be asked."""


UpstreamT = TypeVar("UpstreamT", bound=Named)

DEFAULT = "default"
OWNER = "argoproxy"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done for one model. `name` is a name, a pattern (`qwen*`) or `default`; None leaves a thing alone."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    upstream_model_name: str | None = None
    append_to_last_user_message: str | None = None
    enable_think_tag_filtering: bool | None = None
    think_tag_start: str | None = None
    think_tag_end: str | None = None

    @property
    def is_pattern(self) -> bool:
        return any(character in self.name for character in "*?[")

    @property
    def is_pseudo_model(self) -> bool:
        """Whether the name is one of ours: an alias with settings of its own."""
        return self.upstream_model_name is not None and not self.is_pattern and self.name != DEFAULT

    def applied_to(self, call: Call) -> Call:
        """Give the call as the rule wants it; the very same one when it is so already."""
        body: Json = {**call.body, **self.params}
        if self.upstream_model_name is not None:
            body["model"] = self.upstream_model_name
        if self.append_to_last_user_message and isinstance(body.get("messages"), list):
            body["messages"] = with_text_for_the_user(body["messages"], self.append_to_last_user_message)
        return call.with_body(body)


@dataclass(frozen=True, slots=True)
class Route(Generic[UpstreamT]):
    """One way to serve a call: the upstream, the call as it goes there, how long it may take, the tags to strip."""

    upstream: UpstreamT
    call: Call
    timeouts: Timeouts
    tags: TagPair | None


@dataclass(frozen=True, slots=True)
class Models(Generic[UpstreamT]):
    """The rules of a process, and the upstream they lead to."""

    upstream: UpstreamT
    rules: Sequence[Rule] = ()
    timeouts: Timeouts = Timeouts()
    tags: TagPair = TagPair()
    think_filter: bool = True
    default_model: str = ""
    allowed: AllowList = AllowList()

    def resolve(self, call: Call) -> tuple[Route[UpstreamT], ...]:
        """Give the routes of a completion, best first. Raises BadRequest without a model, ModelNotAllowed."""
        call = self._named(call)
        return (self._route(self._rule_of(call.model) or self._default(), call),)

    def resolve_by_name(self, call: Call) -> tuple[Route[UpstreamT], ...]:
        """Give the routes of an embedding: rules that name its model apply, the default is for completions."""
        call = self._named(call)
        return (self._route(self._rule_of(call.model) or Rule(""), call),)

    def name_upstream(self, call: Call) -> str:
        """Give the name a call's model goes up by, as far as rules tell."""
        return self.resolve(call)[0].call.model

    def joined(self, listed: Document, created: int) -> Document:
        """Add the pseudo-models to an upstream's list, without repeating one. Raises UpstreamProtocolError."""
        document = listed.chunk
        data = document.get("data")
        if not isinstance(data, list):
            raise UpstreamProtocolError("The upstream's reply holds no list of models.")
        there = [model.get("id") for model in data if isinstance(model, dict)]
        ours = [entry for entry in self._pseudo_models(created) if entry["id"] not in there]
        shown = self._allowed([*data, *ours])
        return Document.of({**document, "data": shown}) if len(shown) != len(data) or ours else listed

    def alone(self, created: int) -> Document | None:
        """Give the list of what there is without asking the upstream; None when that is nothing."""
        entries = [*self.upstream.own_models(created), *self._pseudo_models(created)]
        return Document.of({"object": "list", "data": self._allowed(entries)}) if entries else None

    def entry(self, name: str, created: int) -> Document | None:
        """Give a model as `/v1/models/{id}` shows it without asking the upstream; None when there is none."""
        spellings = self.upstream.spellings(name)
        entries = [*self._pseudo_models(created), *self.upstream.own_models(created)]
        return next((Document.of(entry) for entry in entries if entry["id"] in spellings), None)

    def _route(self, rule: Rule, call: Call) -> Route[UpstreamT]:
        return Route(
            upstream=self.upstream,
            call=rule.applied_to(call),
            timeouts=self.timeouts.asked(call.timeout_s),
            tags=self._tags(rule),
        )

    def _tags(self, rule: Rule) -> TagPair | None:
        is_filtered = rule.enable_think_tag_filtering
        if not (self.think_filter if is_filtered is None else is_filtered):
            return None
        return TagPair(rule.think_tag_start or self.tags.start, rule.think_tag_end or self.tags.end)

    def _rule_of(self, model: str) -> Rule | None:
        """Find the rule of a model: an exact name beats a pattern, then the name as asked its others, then order."""
        spellings = self.upstream.spellings(model)
        named = (rule for name in spellings for rule in self.rules if rule.name == name)
        patterns = [rule for rule in self.rules if rule.is_pattern]
        matching = (rule for name in spellings for rule in patterns if fnmatchcase(name, rule.name))
        return next(named, None) or next(matching, None)

    def _named(self, call: Call) -> Call:
        named = call.for_model(self.default_model) if self.default_model and not call.model else call
        if not named.model.strip():
            raise BadRequest("`model` must name a model; /v1/models lists them.", param="model")
        self.allowed.check(named.model)
        return named

    def _allowed(self, entries: list[Any]) -> list[Any]:
        if not self.allowed.patterns:
            return entries
        return [entry for entry in entries if isinstance(entry, dict) and self.allowed.allows(str(entry.get("id")))]

    def _pseudo_models(self, created: int) -> list[Json]:
        names = (rule.name for rule in self.rules if rule.is_pseudo_model)
        return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in names]

    def _default(self) -> Rule:
        return next((rule for rule in self.rules if rule.name == DEFAULT), Rule(""))
