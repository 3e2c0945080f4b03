"""A provider, which is an upstream with its settings, and a route: one way to serve a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, Protocol, Self, TypeVar

from argoproxy.errors import ProxyError
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, drop_credentials
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.http_messages import ClientRequest, without
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.reasoning.policy import ReasoningSettings
from argoproxy.protocol.resilience.resilience_settings import ResilienceSettings
from argoproxy.protocol.resilience.waiting import PlaceLimits
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode, Usage, apply_mode, opposite_mode, without_usage
from argoproxy.protocol.routing.timeouts import Timeouts


class NamedUpstream(Protocol):
    """The part of an upstream that routing needs."""

    @property
    def name(self) -> str:
        """Its name in rules and logs."""

    def aliases(self, model: str) -> Sequence[str]:
        """Return a model's name and the other names of the same model."""

    def static_models(self, created: int) -> Sequence[Json]:
        """Return entries of the models that are known without a request to it."""

    @property
    def is_passthrough(self) -> bool:
        """Whether its replies go to the client byte for byte."""

    def refuses_mode(self, error: ProxyError) -> bool:
        """Return whether an error says that the model does not support streams, or nothing else."""


UpstreamT = TypeVar("UpstreamT", bound=NamedUpstream)
RequestT = TypeVar("RequestT", Call, ClientRequest)


class Credentials(Enum):
    """What is done with a client's credentials in requests to an upstream."""

    FORWARDED = "forward"
    DROPPED = "drop"


@dataclass(frozen=True, slots=True)
class Provider(Generic[UpstreamT]):
    """An upstream, and the settings for its requests unless a rule overrides them."""

    upstream: UpstreamT
    timeouts: Timeouts = Timeouts()
    credentials: Credentials = Credentials.FORWARDED
    #: Whether requests carry a configured key: then its list of models is the same for all callers.
    is_keyed: bool = False
    mode: Mode = Mode.OFF
    usage: Usage = Usage.AS_ASKED
    resilience: ResilienceSettings = ResilienceSettings()
    #: Its limits on requests, tokens and money, if there are any.
    limited: LimitedSubject | None = None

    def withhold_credentials(self, request: RequestT) -> RequestT:
        """Return a request or a call without the client's credentials if this upstream must not get them."""
        if self.credentials is Credentials.FORWARDED:
            return request
        return replace(
            request, headers=without(request.headers, CREDENTIAL_HEADERS), query=drop_credentials(request.query)
        )


# Without slots: it is copied by copy_with.
@dataclass(frozen=True)
class Route(Generic[UpstreamT]):
    """One way to serve a call: the upstream, the call as it is sent there, time-outs and what is done with reasoning.
    `other_mode` is the usage option for a retry in the other mode, None if there is none; `answers_as` is the model
    that the answer names, "" for the one that the upstream names; `resilience` says what may follow a failure."""

    upstream: UpstreamT
    call: Call
    timeouts: Timeouts
    reasoning: ReasoningSettings
    other_mode: Usage | None = None
    answers_as: str = ""
    resilience: ResilienceSettings = ResilienceSettings()
    #: The limits on requests along this route, if there are any.
    limits: PlaceLimits | None = None
    #: What else has limits along it: the rule of the model, the upstream.
    subjects: tuple[LimitedSubject, ...] = ()
    #: How its answer is kept, if that is wanted.
    cache: CachePolicy | None = None

    @property
    def target(self) -> tuple[str, str]:
        """What makes it another route than others: its upstream, and the model there."""
        return self.upstream.name, self.call.model

    def in_other_mode(self) -> Self:
        """Return the same route in the other mode; it can't be changed again."""
        usage = self.other_mode or Usage.AS_ASKED
        return replace(self, call=apply_mode(self.call, opposite_mode(self.call), usage), other_mode=None)

    def without_usage(self) -> Self:
        """Return the same route without the option that asks a stream for its usage."""
        return replace(self, call=without_usage(self.call))

    @property
    def adds_usage(self) -> bool:
        """Whether the proxy added the option that asks a stream for its usage."""
        original = self.call.original_body
        return self.call.include_usage and original is not None and "stream_options" not in original
