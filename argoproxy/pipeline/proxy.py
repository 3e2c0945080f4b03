"""What all requests share: the upstreams and how each is reached, listeners, limits, caches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from argoproxy.errors import Ending, UpstreamProtocolError
from argoproxy.images.inline import Images
from argoproxy.pipeline.accounting.accountant import Accountant
from argoproxy.pipeline.caching.answer_cache import AnswerCache
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.shared.active_probe import ActiveProbe
from argoproxy.pipeline.shared.caches import CachedResult, LoneClosingTags, MissingPaths, RefusedModes
from argoproxy.pipeline.shared.health import Probe
from argoproxy.protocol.access.auth import Principal, RequestAuthenticator
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.api.cors import Cors
from argoproxy.protocol.api.endpoints import BODY_LIMIT
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.price_table import PriceTable
from argoproxy.protocol.resilience.waiting import hash_name
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.timeouts import Heartbeat, Timeouts
from argoproxy.shared_state.upstream_places import UpstreamPlaces
from argoproxy.shared_state.upstream_state import UpstreamStates
from argoproxy.stores.keys.key_admin import KeyDesk
from argoproxy.telemetry.journal.writer import JournalWriter
from argoproxy.telemetry.outcome import Listener
from argoproxy.telemetry.tracing.tracer import Tracer
from argoproxy.transport.reply import HttpReply
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream, UpstreamRequest

#: For a list of models. Shorter than what waits for several, so that a slow upstream reports its own time-out.
LIST_TIMEOUTS = Timeouts(4.5, 4.5, 4.5, 4.5)


@dataclass(frozen=True, slots=True)
class UpstreamLink:
    """How one upstream is reached. `images` puts images into its calls, `model_list` caches its list of models,
    `unwatched` creates a Watch without a client."""

    transport: Transport
    images: Images
    model_list: CachedResult[bytes]
    unwatched: Callable[[], Watch]

    def send(
        self, upstream: Upstream, request: UpstreamRequest, timeouts: Timeouts, context: RequestContext
    ) -> HttpReply:
        """Send a request and wait for the head of its reply. Raises ProxyError, for an error status too, ClientGone."""
        reply = self._open(upstream, request, timeouts, context)
        if not 200 <= reply.status < 300:
            raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
        context.reply_headers = upstream.convert_headers(reply.headers)
        return reply

    def send_any_status(
        self, upstream: Upstream, request: UpstreamRequest, timeouts: Timeouts, context: RequestContext
    ) -> HttpReply:
        """Send a request and wait for the head of its reply, whatever its status. In compatible mode an error status is
        raised: the client gets it as a 200. Raises ProxyError, ClientGone."""
        reply = self._open(upstream, request, timeouts, context)
        if reply.status >= 400:
            context.set_ending(Ending.UPSTREAM_ERROR)
            if context.is_compatible:
                raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
        return reply

    def send_and_read(
        self, upstream: Upstream, request: UpstreamRequest, timeouts: Timeouts, context: RequestContext
    ) -> bytes:
        """Send a request and read the whole reply. Raises ProxyError, for an error status too, ClientGone."""
        body = self.send(upstream, request, timeouts, context).read()
        if context.record:
            context.record.set_reply_body(body)
        return body

    def fetch_model_list(self, upstream: Upstream, context: RequestContext) -> bytes:
        """Return the list of models of an upstream that has the same for all callers, cached for a while. Raises
        ProxyError, ClientGone."""
        request = upstream.shared_model_list_request()
        if request is None:
            raise UpstreamProtocolError("This upstream has no list of models that is the same for all callers.")
        return self.model_list.result(lambda: self.send_and_read(upstream, request, LIST_TIMEOUTS, context))

    def _open(
        self, upstream: Upstream, request: UpstreamRequest, timeouts: Timeouts, context: RequestContext
    ) -> HttpReply:
        trace_headers = context.record_attempt(upstream, request)
        reply = self.transport.open(request, timeouts, context.watch, trace_headers)
        context.add_reply(reply)
        return reply


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all requests share; replaced as a whole when settings are reloaded.

    `gateway` is the Argo gateway, if there is one: among the upstreams, or beside them. `links` and `states` are
    by the upstream's name. With an `authenticator`, only `open_routes` are served without credentials.
    """

    models: Models[Upstream]
    gateway: Models[Upstream] | None
    links: Mapping[str, UpstreamLink]
    listeners: Sequence[Listener]
    heartbeat: Heartbeat
    probe: Probe
    refused_modes: RefusedModes
    states: UpstreamStates
    #: Where any upstream gets only so many requests at once.
    places: UpstreamPlaces | None = None
    #: Where a rule wants answers to be kept.
    cache: AnswerCache | None = None
    #: Admits and charges requests, where any limit is set or requests are written down.
    accountant: Accountant | None = None
    authenticator: RequestAuthenticator | None = None
    #: Manages keys over HTTP, if that is configured.
    key_desk: KeyDesk | None = None
    open_routes: Collection[str] = ()
    journal: JournalWriter | None = None
    #: Whether errors are sent with status 200 unless a request says otherwise.
    compatible: bool = False
    masker: Masker = Masker()
    #: Makes traces, where they are sent or their ids are logged.
    tracer: Tracer | None = None
    #: What tokens cost, where anything needs it, and whether clients see it.
    prices: PriceTable | None = None
    tells_cost: bool = False
    #: The web pages that may use the proxy; None refuses all.
    cors: Cors | None = None
    #: Bytes that a JSON body may have where it is parsed.
    body_limit: int = BODY_LIMIT
    active_probes: Sequence[ActiveProbe] = ()
    #: Whether stores of all replicas, by their names, can be used.
    shared_stores: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    lone_closing_tags: LoneClosingTags = field(default_factory=LoneClosingTags)
    missing_paths: MissingPaths = field(default_factory=MissingPaths)

    def describe_stores(self) -> Mapping[str, bool]:
        """Return whether each store can be used."""
        limits = {"limits": self.accountant.books.store.is_up} if self.accountant else {}
        return {**limits, **{name: is_up() for name, is_up in self.shared_stores.items()}}

    def describe_states(self) -> Mapping[str, Json]:
        """Return the state of each upstream by its name. Models are named by clients: secrets in names are starred."""
        described = {state.name: {**state.describe(), "waiting": self._waiting(state.name)} for state in self.states}
        return {name: {**state, "models": self._mask_names(state["models"])} for name, state in described.items()}

    def _waiting(self, upstream: str) -> int:
        """Return how many requests of all workers wait for a place at an upstream."""
        return self.places.count_waiting(hash_name(upstream)) if self.places else 0

    def _mask_names(self, models: Mapping[str, Json]) -> Json:
        return {self.masker.mask_text((), name): state for name, state in models.items()}

    def for_caller(self, caller: Principal) -> Proxy:
        """Return what serves a request of this caller: itself, or with fewer models."""
        if not caller.allow_lists:
            return self
        gateway = self.gateway and self.gateway.for_caller(caller.allow_lists)
        return replace(self, models=self.models.for_caller(caller.allow_lists), gateway=gateway)

    def close(self) -> None:
        """Close idle connections, and end probes; send what is left of traces."""
        if self.tracer:
            self.tracer.close()
        for probe in self.active_probes:
            probe.stop()
        for link in self.links.values():
            link.transport.close()
