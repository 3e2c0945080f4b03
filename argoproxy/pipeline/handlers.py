"""The corridor: each trip of a request, top to bottom. Nothing else happens here, and everything happens here.

An answer is an iterator of batches. A batch is the list of events that arrived together; an empty one means that
there is nothing for the client just now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from argoproxy.errors import NotFound, ProxyError
from argoproxy.pipeline.caches import LoneEnds, RefusedModes
from argoproxy.pipeline.context import Trip
from argoproxy.pipeline.health import Probe
from argoproxy.pipeline.upstream_calls import Link, ask, common_list_of, list_of, lists_of, read, received
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Doorkeeper
from argoproxy.protocol.access.masking import Redactor
from argoproxy.protocol.api.cors import Cors
from argoproxy.protocol.api.endpoints import (
    BODY_LIMIT,
    CHAT,
    EMBEDDINGS,
    RAW,
    Surface,
    answer,
    answer_document,
    answer_raw,
)
from argoproxy.protocol.api.passthrough import overheard, with_last_word
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse, downward
from argoproxy.protocol.reasoning.filters import reasoning_filters
from argoproxy.protocol.routing.call import Call, call_of
from argoproxy.protocol.routing.model_list import entry_of, joined
from argoproxy.protocol.routing.relay_target import recipient
from argoproxy.protocol.routing.router import Models, Route, following
from argoproxy.protocol.routing.timeouts import Heartbeat
from argoproxy.protocol.stream.answer_model import ModelNameFilter
from argoproxy.protocol.stream.filters import Filter, primed, through
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.protocol.stream.tool_call_filter import ToolCallFilter
from argoproxy.protocol.stream.usage import UsageMeter, UsageWithheld
from argoproxy.telemetry.journal.record import Chronicle
from argoproxy.telemetry.journal.recorders import ByteEar, SizeEar
from argoproxy.telemetry.outcome import Listener
from argoproxy.transport.reply import Reply
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import checked_path

HELLO = {"model": "gpt4o", "messages": [{"role": "user", "content": "Say hello."}]}

StepT = TypeVar("StepT")


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all trips share. `gateway` is the Argo gateway where there is one: among the upstreams, or beside them.
    `links` tell by its name how each upstream is reached. Where there is a `doorkeeper`, only `open_routes` are served
    to everybody."""

    models: Models[Upstream]
    gateway: Models[Upstream] | None
    links: Mapping[str, Link]
    listeners: Sequence[Listener]
    heartbeat: Heartbeat
    probe: Probe
    refused_modes: RefusedModes
    doorkeeper: Doorkeeper | None = None
    open_routes: Collection[str] = ()
    chronicle: Chronicle | None = None
    #: Whether errors are told under a status of success where a request does not say.
    compatible: bool = False
    redactor: Redactor = Redactor()
    #: Which web pages may use the proxy; None where no page is answered to.
    cors: Cors | None = None
    #: Bytes that a JSON body may have where it is read.
    body_limit: int = BODY_LIMIT
    lone_ends: LoneEnds = field(default_factory=LoneEnds)

    def close(self) -> None:
        """Close the connections nobody uses."""
        for link in self.links.values():
            link.transport.close()


def converse(request: ClientRequest, surface: Surface, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one chat or legacy completion to an upstream and back. Raises ProxyError, ClientGone."""
    call = surface.parse(request, proxy.body_limit)
    trip.calls(call)
    return carry(call, proxy.models, proxy, trip)


def greet(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Have a model of the gateway say hello, to show that the way to it works. Raises ProxyError, ClientGone."""
    call = call_of(request, HELLO, CHAT.path)
    trip.calls(call)
    return carry(call, replace(gateway_of(proxy), allowed=AllowList()), proxy, trip)


def carry(call: Call, models: Models[Upstream], proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry a call to an upstream and the answer back. Raises ProxyError, ClientGone."""
    trip.may_begin_early(call)
    routes = routes_of(call, models, proxy, trip)
    if routes[0].upstream.is_native:
        return hand_over(routes, proxy, trip)
    batches = first_that_opens(routes, lambda route: turn(route, proxy, trip), proxy, trip)
    batches = primed(batches)
    batches = through(batches, lambda: filters(call, proxy, trip))
    return answer(batches, call, trip)


def converse_raw(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one chat in the upstream's own words: nothing is filtered. Raises ProxyError, ClientGone."""
    call = RAW.parse(request, proxy.body_limit)
    trip.calls(call)
    route, *_ = routes_of(call, gateway_of(proxy), proxy, trip)
    told = answer_raw(primed(turn(route, proxy, trip)), call, trip)
    return heard(told, ByteEar(told.headers), trip)


def hand_over(routes: Sequence[Route[Upstream]], proxy: Proxy, trip: Trip) -> ClientResponse:
    """Send a call along a route and pass the reply on, byte for byte. Raises ProxyError, ClientGone."""
    trip.begins_with_its_reply()
    reply = next(first_that_opens(routes, lambda route: handed(route, proxy, trip), proxy, trip))
    pieces = overheard(primed(reply.untouched()), reply.headers, trip.uses)
    answer = ClientResponse(reply.status, downward(reply.headers), with_last_word(pieces, reply.headers, trip))
    return heard(answer, ByteEar(answer.headers), trip)


def heard(answer: ClientResponse, ear: ByteEar | SizeEar, trip: Trip) -> ClientResponse:
    """Have the journal, where there is one, listen to an answer that nobody reads on its way."""
    if trip.record is None:
        return answer
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    listening = trip.record.listening(pieces, ear)
    return replace(answer, body=b"".join(listening) if isinstance(answer.body, bytes) else listening)


def first_that_opens(
    routes: Sequence[Route[Upstream]], attempt: Callable[[Route[Upstream]], Iterator[StepT]], proxy: Proxy, trip: Trip
) -> Iterator[StepT]:
    """Give what comes along the first route on which something comes. The next one is tried only where nothing came,
    after a failure that it may follow; a mode that was refused is remembered once the other one is not. Raises
    ProxyError, ClientGone."""
    route, *others = map(proxy.refused_modes.turned, routes)
    refused: Route[Upstream] | None = None
    while True:
        steps = attempt(route)
        try:
            for step in steps:
                if step and refused:
                    proxy.refused_modes.learn(refused, route)
                yield step
                if step:
                    break
        except ProxyError as error:
            another = following(route, others, error)
            if another is None:
                raise
            failed, route = route, another
            trip.tries_another_way(error)
            refused = None if others and route is others[0] else failed
            if refused is None:
                del others[0]
            continue
        yield from steps
        return


def turn(route: Route[Upstream], proxy: Proxy, trip: Trip) -> Iterator[Batch]:
    """Send the call along one route. Raises ProxyError, ClientGone, before the first batch or on the way."""
    trip.takes(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, trip.watch)
    reply = ask(route.upstream, route.upstream.request(call), route.timeouts, link, trip)
    for batch in route.upstream.batches(reply, call):
        if not batch:
            trip.watch.look()
        yield batch


def handed(route: Route[Upstream], proxy: Proxy, trip: Trip) -> Iterator[Reply]:
    """Send the call along one route and give whatever comes back. Raises ProxyError, ClientGone."""
    trip.takes(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, trip.watch)
    yield received(route.upstream, route.upstream.request(call), route.timeouts, link, trip)


def filters(call: Call, proxy: Proxy, trip: Trip) -> Sequence[Filter]:
    """Give what the answer passes on its way to the client, by the route it came."""
    route = trip.route
    is_unasked = route.call.include_usage and not (call.include_usage or call.answers_whole)
    withheld = [UsageWithheld()] if is_unasked else []
    ears = trip.record.ears() if trip.record else ()
    thoughts = reasoning_filters(route.reasoning, partial(proxy.lone_ends.warn, call.asked))
    changes = [ToolCallFilter(), *thoughts, *route.upstream.filters(route.call), *withheld]
    changes += names(route)
    return [*ears[:1], UsageMeter(trip.uses), *changes, *ears[1:]]


def names(route: Route[Upstream]) -> list[ModelNameFilter]:
    """Return the filter that sets the model of an answer, where the answer is not to name the upstream's."""
    return [ModelNameFilter(route.answers_as)] if route.answers_as else []


def embed(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one request for embeddings. Raises ProxyError, ClientGone."""
    call = EMBEDDINGS.parse(request, proxy.body_limit)
    trip.calls(call)
    routes = routes_of(call, proxy.models, proxy, trip)
    if routes[0].upstream.is_native:
        return hand_over(routes, proxy, trip)
    document = next(first_that_opens(routes, lambda route: embedded(route, proxy, trip), proxy, trip))
    UsageMeter(trip.uses).feed([document])
    for naming in names(trip.route):
        document = naming.named(document)
    return answer_document(document, trip)


def embedded(route: Route[Upstream], proxy: Proxy, trip: Trip) -> Iterator[Document]:
    """Ask for embeddings along one route. Raises ProxyError, ClientGone."""
    trip.takes(route)
    upstream, link = route.upstream, proxy.links[route.upstream.name]
    bodies = [read(upstream, part, route.timeouts, link, trip) for part in upstream.embed_requests(route.call)]
    document = upstream.embeddings(bodies, route.call)
    trip.told(document)
    yield document


def list_models(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Answer with what the upstreams list and the names of ours they do not. Raises ProxyError, ClientGone."""
    lists = lists_of(request, proxy.models, proxy.links, trip)
    document = joined(proxy.models, lists, request.created)
    if not isinstance(lists[0], Document):
        trip.tries_another_way(lists[0])
        trip.stands_in()
    return answer_document(document, trip)


def show_model(request: ClientRequest, name: str, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Answer with what its upstream says of one model, else with ours. Raises ProxyError, ClientGone."""
    models, created = proxy.models, request.created
    trip.asks(name)
    models.allowed.check(name)
    provider = models.provider_of(name)
    link = proxy.links[provider.upstream.name]
    try:
        document = provider.upstream.listing(list_of(request, provider, link, trip), name, created)
    except ProxyError as error:
        trip.tries_another_way(error)
        entry = entry_of(models, name, created)
        if entry is None:
            raise
        document = entry
        trip.stands_in()
    return answer_document(document, trip)


def relay(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Pass a request for another path on and its reply back, byte for byte. Raises ProxyError, ClientGone."""
    request, provider = recipient(replace(request, path=checked_path(request.path)), proxy.models)
    trip.goes_to(provider.upstream)
    asked = provider.upstream.forward(provider.seen(request))
    reply = received(provider.upstream, asked, provider.timeouts, proxy.links[provider.upstream.name], trip)
    answer = ClientResponse(reply.status, downward(reply.headers), primed(reply.untouched()))
    return heard(answer, SizeEar(), trip)


def routes_of(call: Call, models: Models[Upstream], proxy: Proxy, trip: Trip) -> Sequence[Route[Upstream]]:
    """Resolve a call, with the names its upstream lists where the one that goes up is not known without. Raises
    BadRequest, also for what no upstream would take (a native one looks for itself), ModelNotAllowed, ClientGone."""
    routes = models.resolve(call)
    upstream, sent = routes[0].upstream, routes[0].call
    if not upstream.is_native:
        validate(call.body, call.path)
    if upstream.common_list() is None or upstream.knows(sent.model):
        return routes
    try:
        listed = common_list_of(upstream, proxy.links[upstream.name], trip)
        return models.knowing(upstream.acquainted(listed)).resolve(call)
    except ProxyError as error:
        trip.tries_another_way(error)
        return routes


def gateway_of(proxy: Proxy) -> Models[Upstream]:
    """Give the models of the gateway that the door has. Raises NotFound when it has none."""
    if proxy.gateway is None:
        raise NotFound("There is no Argo gateway behind this door.")
    return proxy.gateway
