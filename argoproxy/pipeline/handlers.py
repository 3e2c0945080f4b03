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
from argoproxy.pipeline.context import RequestContext
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


def converse(request: ClientRequest, surface: Surface, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one chat or legacy completion to an upstream and back. Raises ProxyError, ClientGone."""
    call = surface.parse(request, proxy.body_limit)
    context.set_call(call)
    return carry(call, proxy.models, proxy, context)


def greet(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Have a model of the gateway say hello, to show that the way to it works. Raises ProxyError, ClientGone."""
    call = call_of(request, HELLO, CHAT.path)
    context.set_call(call)
    return carry(call, replace(gateway_of(proxy), allowed=AllowList()), proxy, context)


def carry(call: Call, models: Models[Upstream], proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry a call to an upstream and the answer back. Raises ProxyError, ClientGone."""
    context.may_begin_early(call)
    routes = routes_of(call, models, proxy, context)
    if routes[0].upstream.is_native:
        return hand_over(routes, proxy, context)
    batches = first_that_opens(routes, lambda route: turn(route, proxy, context), proxy, context)
    batches = primed(batches)
    batches = through(batches, lambda: filters(call, proxy, context))
    return answer(batches, call, context)


def converse_raw(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one chat in the upstream's own words: nothing is filtered. Raises ProxyError, ClientGone."""
    call = RAW.parse(request, proxy.body_limit)
    context.set_call(call)
    route, *_ = routes_of(call, gateway_of(proxy), proxy, context)
    told = answer_raw(primed(turn(route, proxy, context)), call, context)
    return heard(told, ByteEar(told.headers), context)


def hand_over(routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Send a call along a route and pass the reply on, byte for byte. Raises ProxyError, ClientGone."""
    context.begins_with_its_reply()
    reply = next(first_that_opens(routes, lambda route: handed(route, proxy, context), proxy, context))
    pieces = overheard(primed(reply.untouched()), reply.headers, context.record_usage)
    answer = ClientResponse(reply.status, downward(reply.headers), with_last_word(pieces, reply.headers, context))
    return heard(answer, ByteEar(answer.headers), context)


def heard(answer: ClientResponse, ear: ByteEar | SizeEar, context: RequestContext) -> ClientResponse:
    """Have the journal, where there is one, listen to an answer that nobody reads on its way."""
    if context.record is None:
        return answer
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    listening = context.record.listening(pieces, ear)
    return replace(answer, body=b"".join(listening) if isinstance(answer.body, bytes) else listening)


def first_that_opens(
    routes: Sequence[Route[Upstream]],
    attempt: Callable[[Route[Upstream]], Iterator[StepT]],
    proxy: Proxy,
    context: RequestContext,
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
            context.discard_attempt(error)
            refused = None if others and route is others[0] else failed
            if refused is None:
                del others[0]
            continue
        yield from steps
        return


def turn(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Batch]:
    """Send the call along one route. Raises ProxyError, ClientGone, before the first batch or on the way."""
    context.set_route(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, context.watch)
    reply = ask(route.upstream, route.upstream.request(call), route.timeouts, link, context)
    for batch in route.upstream.batches(reply, call):
        if not batch:
            context.watch.look()
        yield batch


def handed(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Reply]:
    """Send the call along one route and give whatever comes back. Raises ProxyError, ClientGone."""
    context.set_route(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, context.watch)
    yield received(route.upstream, route.upstream.request(call), route.timeouts, link, context)


def filters(call: Call, proxy: Proxy, context: RequestContext) -> Sequence[Filter]:
    """Give what the answer passes on its way to the client, by the route it came."""
    route = context.route
    is_unasked = route.call.include_usage and not (call.include_usage or call.answers_whole)
    withheld = [UsageWithheld()] if is_unasked else []
    ears = context.record.ears() if context.record else ()
    thoughts = reasoning_filters(route.reasoning, partial(proxy.lone_ends.warn, call.asked))
    changes = [ToolCallFilter(), *thoughts, *route.upstream.filters(route.call), *withheld]
    changes += names(route)
    return [*ears[:1], UsageMeter(context.record_usage), *changes, *ears[1:]]


def names(route: Route[Upstream]) -> list[ModelNameFilter]:
    """Return the filter that sets the model of an answer, where the answer is not to name the upstream's."""
    return [ModelNameFilter(route.answers_as)] if route.answers_as else []


def embed(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one request for embeddings. Raises ProxyError, ClientGone."""
    call = EMBEDDINGS.parse(request, proxy.body_limit)
    context.set_call(call)
    routes = routes_of(call, proxy.models, proxy, context)
    if routes[0].upstream.is_native:
        return hand_over(routes, proxy, context)
    document = next(first_that_opens(routes, lambda route: embedded(route, proxy, context), proxy, context))
    UsageMeter(context.record_usage).feed([document])
    for naming in names(context.route):
        document = naming.named(document)
    return answer_document(document, context)


def embedded(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Document]:
    """Ask for embeddings along one route. Raises ProxyError, ClientGone."""
    context.set_route(route)
    upstream, link = route.upstream, proxy.links[route.upstream.name]
    bodies = [read(upstream, part, route.timeouts, link, context) for part in upstream.embed_requests(route.call)]
    document = upstream.embeddings(bodies, route.call)
    context.record_answer(document)
    yield document


def list_models(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with what the upstreams list and the names of ours they do not. Raises ProxyError, ClientGone."""
    lists = lists_of(request, proxy.models, proxy.links, context)
    document = joined(proxy.models, lists, request.created)
    if not isinstance(lists[0], Document):
        context.discard_attempt(lists[0])
        context.clear_reply_head()
    return answer_document(document, context)


def show_model(request: ClientRequest, name: str, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with what its upstream says of one model, else with ours. Raises ProxyError, ClientGone."""
    models, created = proxy.models, request.created
    context.set_model(name)
    models.allowed.check(name)
    provider = models.provider_of(name)
    link = proxy.links[provider.upstream.name]
    try:
        document = provider.upstream.listing(list_of(request, provider, link, context), name, created)
    except ProxyError as error:
        context.discard_attempt(error)
        entry = entry_of(models, name, created)
        if entry is None:
            raise
        document = entry
        context.clear_reply_head()
    return answer_document(document, context)


def relay(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Pass a request for another path on and its reply back, byte for byte. Raises ProxyError, ClientGone."""
    request, provider = recipient(replace(request, path=checked_path(request.path)), proxy.models)
    context.set_upstream(provider.upstream)
    asked = provider.upstream.forward(provider.seen(request))
    reply = received(provider.upstream, asked, provider.timeouts, proxy.links[provider.upstream.name], context)
    answer = ClientResponse(reply.status, downward(reply.headers), primed(reply.untouched()))
    return heard(answer, SizeEar(), context)


def routes_of(call: Call, models: Models[Upstream], proxy: Proxy, context: RequestContext) -> Sequence[Route[Upstream]]:
    """Resolve a call, with the names its upstream lists where the one that goes up is not known without. Raises
    BadRequest, also for what no upstream would take (a native one looks for itself), ModelNotAllowed, ClientGone."""
    routes = models.resolve(call)
    upstream, sent = routes[0].upstream, routes[0].call
    if not upstream.is_native:
        validate(call.body, call.path)
    if upstream.common_list() is None or upstream.knows(sent.model):
        return routes
    try:
        listed = common_list_of(upstream, proxy.links[upstream.name], context)
        return models.knowing(upstream.acquainted(listed)).resolve(call)
    except ProxyError as error:
        context.discard_attempt(error)
        return routes


def gateway_of(proxy: Proxy) -> Models[Upstream]:
    """Give the models of the gateway that the door has. Raises NotFound when it has none."""
    if proxy.gateway is None:
        raise NotFound("There is no Argo gateway behind this door.")
    return proxy.gateway
