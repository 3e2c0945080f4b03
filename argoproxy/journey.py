"""The corridor: each trip of a request, top to bottom. Nothing else happens here, and everything happens here.

An answer is an iterator of batches. A batch is the list of events that arrived together; an empty one means that
there is nothing for the client just now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from argoproxy.errors import Ending, NotFound, ProxyError
from argoproxy.health import Probe
from argoproxy.images import Images
from argoproxy.memory import Remembered
from argoproxy.protocol.allowance import AllowList, checked, limit_of, must_tell_its_model
from argoproxy.protocol.auth import Key
from argoproxy.protocol.call import Call, call_of
from argoproxy.protocol.exchange import ClientRequest, ClientResponse, ReadBody, downward
from argoproxy.protocol.filters import Filter, primed, through
from argoproxy.protocol.models import Models, Route
from argoproxy.protocol.sse import Batch
from argoproxy.protocol.surface import CHAT, EMBEDDINGS, RAW, Surface, answer, answer_document, answer_raw
from argoproxy.protocol.think import ThinkFilter
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.protocol.untouched import overheard, with_last_word
from argoproxy.protocol.usage import UsageMeter
from argoproxy.protocol.validate import validate
from argoproxy.transport import Reply, Transport
from argoproxy.trip import Listener, Trip
from argoproxy.upstreams import Upstream, UpstreamRequest

#: How long a list of models is waited for, where the upstream can do without.
LIST_S = 5.0
HELLO = {"model": "gpt4o", "messages": [{"role": "user", "content": "Say hello."}]}


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all trips share. `gateway` is the Argo gateway where there is one: the upstream itself, or one beside it.
    Where there are `keys`, only `open_routes` are served without one."""

    models: Models[Upstream]
    gateway: Models[Upstream] | None
    transport: Transport
    listeners: Sequence[Listener]
    heartbeat_s: float
    listed: Remembered[bytes]
    images: Images
    probe: Probe
    keys: Sequence[Key] = ()
    open_routes: Collection[str] = ()


def converse(request: ClientRequest, surface: Surface, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one chat or legacy completion to an upstream and back. Raises ProxyError, ClientGone."""
    call = surface.parse(request)
    trip.asks(call.model)
    return carry(call, proxy.models, proxy, trip)


def greet(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Have a model of the gateway say hello, to show that the way to it works. Raises ProxyError, ClientGone."""
    call = call_of(request, HELLO, CHAT.path)
    trip.asks(call.model)
    return carry(call, replace(gateway_of(proxy), allowed=AllowList()), proxy, trip)


def carry(call: Call, models: Models[Upstream], proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry a call to an upstream and the answer back. Raises ProxyError, ClientGone."""
    routes = models.resolve(call)
    check(call, routes)
    known = informed(call, models, proxy, trip)
    route, *_ = routes if known is models else known.resolve(call)
    if route.upstream.is_native:
        return hand_over(route, proxy, trip)
    batches = turn(route, proxy, trip)
    batches = primed(batches)
    batches = through(batches, lambda: filters(route, trip))
    return answer(batches, call, trip)


def converse_raw(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one chat in the upstream's own words: nothing is filtered. Raises ProxyError, ClientGone."""
    call = RAW.parse(request)
    trip.asks(call.model)
    route, *_ = informed(call, gateway_of(proxy), proxy, trip).resolve(call)
    return answer_raw(primed(turn(route, proxy, trip)), call, trip)


def hand_over(route: Route[Upstream], proxy: Proxy, trip: Trip) -> ClientResponse:
    """Send a call along a route and pass the reply on, byte for byte. Raises ProxyError, ClientGone."""
    trip.takes(route)
    call = proxy.images.inlined(route.call, trip.watch)
    reply = received(route.upstream.request(call), route.timeouts, proxy, trip)
    pieces = overheard(primed(reply.untouched()), reply.headers, trip.uses)
    return ClientResponse(reply.status, downward(reply.headers), with_last_word(pieces, reply.headers, trip))


def turn(route: Route[Upstream], proxy: Proxy, trip: Trip) -> Iterator[Batch]:
    """Send the call along one route. Raises ProxyError, ClientGone, before the first batch or on the way."""
    trip.takes(route)
    call = proxy.images.inlined(route.call, trip.watch)
    reply = ask(route.upstream, route.upstream.request(call), route.timeouts, proxy, trip)
    yield from route.upstream.batches(reply, call)


def filters(route: Route[Upstream], trip: Trip) -> Sequence[Filter]:
    """Give what the answer passes on its way to the client."""
    strip = [ThinkFilter(route.tags)] if route.tags else []
    return [UsageMeter(trip.uses), *strip]


def embed(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Carry one request for embeddings. Raises ProxyError, ClientGone."""
    call = EMBEDDINGS.parse(request)
    trip.asks(call.model)
    check(call, proxy.models.resolve_by_name(call))
    route, *_ = informed(call, proxy.models, proxy, trip).resolve_by_name(call)
    if route.upstream.is_native:
        return hand_over(route, proxy, trip)
    trip.takes(route)
    upstream = route.upstream
    replies = (ask(upstream, part, route.timeouts, proxy, trip) for part in upstream.embed_requests(route.call))
    document = upstream.embeddings([reply.read() for reply in replies], route.call)
    UsageMeter(trip.uses).feed([document])
    return answer_document(document, trip)


def list_models(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Answer with what the upstream lists and the names of ours it does not. Raises ProxyError, ClientGone."""
    models, created = proxy.models, request.created
    try:
        document = models.joined(models.upstream.listing(listed(request, proxy, trip), "", created), created)
    except ProxyError:
        alone = models.alone(created)
        if alone is None:
            raise
        document = alone
        trip.stands_in()
    return answer_document(document, trip)


def show_model(request: ClientRequest, name: str, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Answer with what the upstream says of one model, else with ours. Raises ProxyError, ClientGone."""
    models, created = proxy.models, request.created
    trip.asks(name)
    models.allowed.check(name)
    try:
        document = models.upstream.listing(listed(request, proxy, trip), name, created)
    except ProxyError:
        entry = models.entry(name, created)
        if entry is None:
            raise
        document = entry
        trip.stands_in()
    return answer_document(document, trip)


def relay(request: ClientRequest, proxy: Proxy, trip: Trip) -> ClientResponse:
    """Pass a request for another path on and its reply back, byte for byte. Raises ProxyError, ClientGone."""
    upstream, allowed = proxy.models.upstream, proxy.models.allowed
    if allowed.patterns and must_tell_its_model(request):
        text = checked(request.body.read(limit_of(request.headers)), request.headers, allowed)
        request = replace(request, body=ReadBody(text))
    trip.goes_to(upstream)
    reply = received(upstream.forward(request), proxy.models.timeouts, proxy, trip)
    return ClientResponse(reply.status, downward(reply.headers), primed(reply.untouched()))


def received(asked: UpstreamRequest, timeouts: Timeouts, proxy: Proxy, trip: Trip) -> Reply:
    """Send one request and wait for whatever comes back. Raises ProxyError, ClientGone."""
    reply = proxy.transport.open(asked, timeouts, trip.watch)
    trip.opened(reply)
    if reply.status >= 400:
        trip.ends(Ending.UPSTREAM_ERROR)
    return reply


def ask(upstream: Upstream, asked: UpstreamRequest, timeouts: Timeouts, proxy: Proxy, trip: Trip) -> Reply:
    """Send one request to an upstream and wait for a reply of success. Raises ProxyError, ClientGone."""
    reply = proxy.transport.open(asked, timeouts, trip.watch)
    trip.opened(reply)
    if not 200 <= reply.status < 300:
        raise upstream.error(reply.status, reply.headers, reply.read_what_there_is())
    return reply


def listed(request: ClientRequest, proxy: Proxy, trip: Trip) -> bytes:
    """Ask the upstream for its models, as this client sees them. Raises ProxyError, ClientGone."""
    upstream = proxy.models.upstream
    trip.goes_to(upstream)
    if common := upstream.common_list():
        return remembered(common, proxy, trip)
    return ask(upstream, upstream.models_request(request), proxy.models.timeouts, proxy, trip).read()


def remembered(common: UpstreamRequest, proxy: Proxy, trip: Trip) -> bytes:
    """Give a list of models that is the same for everybody: it is asked for once in a while, and not waited for long.
    Raises ProxyError, ClientGone."""
    models = proxy.gateway or proxy.models
    timeouts = models.timeouts.within(LIST_S)
    return proxy.listed.result(lambda: ask(models.upstream, common, timeouts, proxy, trip).read())


def check(call: Call, routes: Sequence[Route[Upstream]]) -> None:
    """Refuse what no upstream would take; a native one looks for itself. Raises BadRequest."""
    if not routes[0].upstream.is_native:
        validate(call.body, call.path)


def informed(call: Call, models: Models[Upstream], proxy: Proxy, trip: Trip) -> Models[Upstream]:
    """Give the models, with the names the upstream lists when the one that goes up is not known without."""
    common = models.upstream.common_list()
    if common is None or models.upstream.knows(models.name_upstream(call)):
        return models
    try:
        return replace(models, upstream=models.upstream.acquainted(remembered(common, proxy, trip)))
    except ProxyError:
        return models


def gateway_of(proxy: Proxy) -> Models[Upstream]:
    """Give the models of the gateway that the door has. Raises NotFound when it has none."""
    if proxy.gateway is None:
        raise NotFound("There is no Argo gateway behind this door.")
    return proxy.gateway
