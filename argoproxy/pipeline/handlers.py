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
from argoproxy.pipeline.caches import LoneClosingTags, RefusedModes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.health import Probe
from argoproxy.pipeline.upstream_calls import (
    UpstreamLink,
    fetch_model_list,
    fetch_model_lists,
    fetch_shared_list,
    send,
    send_and_read,
    send_any_status,
)
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Authenticator
from argoproxy.protocol.access.header_rules import response_headers_for_client
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.api.cors import Cors
from argoproxy.protocol.api.endpoints import (
    BODY_LIMIT,
    CHAT,
    EMBEDDINGS,
    RAW,
    Endpoint,
    answer,
    answer_document,
    answer_raw,
)
from argoproxy.protocol.api.passthrough import end_with_error_event, meter_usage
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.reasoning.filters import reasoning_filters
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.protocol.routing.model_list import find_entry, merge_model_lists
from argoproxy.protocol.routing.router import Models, Route, find_relay_target, next_route
from argoproxy.protocol.routing.timeouts import Heartbeat
from argoproxy.protocol.stream.chunk_fields import ModelNameFilter, UsageMeter, UsageRemover
from argoproxy.protocol.stream.filters import Filter, apply_filters, prefetch_first
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.protocol.stream.tool_calls import ToolCallFilter
from argoproxy.telemetry.journal.recorders import ByteCounter, ByteRecorder
from argoproxy.telemetry.journal.writer import JournalWriter
from argoproxy.telemetry.outcome import Listener
from argoproxy.transport.reply import Reply
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import validate_path

HELLO = {"model": "gpt4o", "messages": [{"role": "user", "content": "Say hello."}]}

StepT = TypeVar("StepT")


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all trips share. `gateway` is the Argo gateway where there is one: among the upstreams, or beside them.
    `links` tell by its name how each upstream is reached. With an `authenticator`, only `open_routes` are served
    to everybody."""

    models: Models[Upstream]
    gateway: Models[Upstream] | None
    links: Mapping[str, UpstreamLink]
    listeners: Sequence[Listener]
    heartbeat: Heartbeat
    probe: Probe
    refused_modes: RefusedModes
    authenticator: Authenticator | None = None
    open_routes: Collection[str] = ()
    journal: JournalWriter | None = None
    #: Whether errors are told under a status of success where a request does not say.
    compatible: bool = False
    masker: Masker = Masker()
    #: Which web pages may use the proxy; None where no page is answered to.
    cors: Cors | None = None
    #: Bytes that a JSON body may have where it is read.
    body_limit: int = BODY_LIMIT
    lone_ends: LoneClosingTags = field(default_factory=LoneClosingTags)

    def close(self) -> None:
        """Close the connections nobody uses."""
        for link in self.links.values():
            link.transport.close()


def handle_chat(request: ClientRequest, surface: Endpoint, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one chat or legacy completion to an upstream and back. Raises ProxyError, ClientGone."""
    call = surface.parse(request, proxy.body_limit)
    context.set_call(call)
    return run_chat(call, proxy.models, proxy, context)


def handle_gateway_status(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Have a model of the gateway say hello, to show that the way to it works. Raises ProxyError, ClientGone."""
    call = make_call(request, HELLO, CHAT.path)
    context.set_call(call)
    return run_chat(call, replace(require_gateway(proxy), allowed=AllowList()), proxy, context)


def run_chat(call: Call, models: Models[Upstream], proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry a call to an upstream and the answer back. Raises ProxyError, ClientGone."""
    context.may_begin_early(call)
    routes = resolve_routes(call, models, proxy, context)
    if routes[0].upstream.is_passthrough:
        return run_passthrough(routes, proxy, context)
    batches = try_routes(routes, lambda route: attempt_route(route, proxy, context), proxy, context)
    batches = prefetch_first(batches)
    batches = apply_filters(batches, lambda: response_filters(call, proxy, context))
    return answer(batches, call, context)


def handle_raw_chat(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one chat in the upstream's own words: nothing is filtered. Raises ProxyError, ClientGone."""
    call = RAW.parse(request, proxy.body_limit)
    context.set_call(call)
    route, *_ = resolve_routes(call, require_gateway(proxy), proxy, context)
    told = answer_raw(prefetch_first(attempt_route(route, proxy, context)), call, context)
    return record_response(told, ByteRecorder(told.headers), context)


def run_passthrough(routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Send a call along a route and pass the reply on, byte for byte. Raises ProxyError, ClientGone."""
    context.begins_with_its_reply()
    reply = next(try_routes(routes, lambda route: send_raw(route, proxy, context), proxy, context))
    pieces = meter_usage(prefetch_first(reply.iter_raw()), reply.headers, context.record_usage)
    answer = ClientResponse(
        reply.status, response_headers_for_client(reply.headers), end_with_error_event(pieces, reply.headers, context)
    )
    return record_response(answer, ByteRecorder(answer.headers), context)


def record_response(answer: ClientResponse, ear: ByteRecorder | ByteCounter, context: RequestContext) -> ClientResponse:
    """Have the journal, where there is one, listen to an answer that nobody reads on its way."""
    if context.record is None:
        return answer
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    listening = context.record.listening(pieces, ear)
    return replace(answer, body=b"".join(listening) if isinstance(answer.body, bytes) else listening)


def try_routes(
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
            another = next_route(route, others, error)
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


def attempt_route(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Batch]:
    """Send the call along one route. Raises ProxyError, ClientGone, before the first batch or on the way."""
    context.set_route(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, context.watch)
    reply = send(route.upstream, route.upstream.completion_request(call), route.timeouts, link, context)
    for batch in route.upstream.read_completion(reply, call):
        if not batch:
            context.watch.check_client()
        yield batch


def send_raw(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Reply]:
    """Send the call along one route and give whatever comes back. Raises ProxyError, ClientGone."""
    context.set_route(route)
    link = proxy.links[route.upstream.name]
    call = link.images.inlined(route.call, context.watch)
    yield send_any_status(route.upstream, route.upstream.completion_request(call), route.timeouts, link, context)


def response_filters(call: Call, proxy: Proxy, context: RequestContext) -> Sequence[Filter]:
    """Give what the answer passes on its way to the client, by the route it came."""
    route = context.route
    is_unasked = route.call.include_usage and not (call.include_usage or call.answers_whole)
    withheld = [UsageRemover()] if is_unasked else []
    ears = context.record.ears() if context.record else ()
    thoughts = reasoning_filters(route.reasoning, partial(proxy.lone_ends.warn, call.requested_model))
    changes = [ToolCallFilter(), *thoughts, *route.upstream.filters(route.call), *withheld]
    changes += model_name_filters(route)
    return [*ears[:1], UsageMeter(context.record_usage), *changes, *ears[1:]]


def model_name_filters(route: Route[Upstream]) -> list[ModelNameFilter]:
    """Return the filter that sets the model of an answer, where the answer is not to name the upstream's."""
    return [ModelNameFilter(route.answers_as)] if route.answers_as else []


def handle_embeddings(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Carry one request for embeddings. Raises ProxyError, ClientGone."""
    call = EMBEDDINGS.parse(request, proxy.body_limit)
    context.set_call(call)
    routes = resolve_routes(call, proxy.models, proxy, context)
    if routes[0].upstream.is_passthrough:
        return run_passthrough(routes, proxy, context)
    document = next(try_routes(routes, lambda route: attempt_embeddings(route, proxy, context), proxy, context))
    UsageMeter(context.record_usage).feed([document])
    for naming in model_name_filters(context.route):
        document = naming.set_model(document)
    return answer_document(document, context)


def attempt_embeddings(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Document]:
    """Ask for embeddings along one route. Raises ProxyError, ClientGone."""
    context.set_route(route)
    upstream, link = route.upstream, proxy.links[route.upstream.name]
    bodies = [
        send_and_read(upstream, part, route.timeouts, link, context) for part in upstream.embedding_requests(route.call)
    ]
    document = upstream.read_embeddings(bodies, route.call)
    context.record_answer(document)
    yield document


def list_models(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with what the upstreams list and the names of ours they do not. Raises ProxyError, ClientGone."""
    lists = fetch_model_lists(request, proxy.models, proxy.links, context)
    document = merge_model_lists(proxy.models, lists, request.created)
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
        document = provider.upstream.read_model_list(fetch_model_list(request, provider, link, context), name, created)
    except ProxyError as error:
        context.discard_attempt(error)
        entry = find_entry(models, name, created)
        if entry is None:
            raise
        document = entry
        context.clear_reply_head()
    return answer_document(document, context)


def relay(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Pass a request for another path on and its reply back, byte for byte. Raises ProxyError, ClientGone."""
    request, provider = find_relay_target(replace(request, path=validate_path(request.path)), proxy.models)
    context.set_upstream(provider.upstream)
    asked = provider.upstream.forward_request(provider.withhold_credentials(request))
    reply = send_any_status(provider.upstream, asked, provider.timeouts, proxy.links[provider.upstream.name], context)
    answer = ClientResponse(reply.status, response_headers_for_client(reply.headers), prefetch_first(reply.iter_raw()))
    return record_response(answer, ByteCounter(), context)


def resolve_routes(
    call: Call, models: Models[Upstream], proxy: Proxy, context: RequestContext
) -> Sequence[Route[Upstream]]:
    """Resolve a call, with the names its upstream lists where the one that goes up is not known without. Raises
    BadRequest, also for what no upstream would take (a native one looks for itself), ModelNotAllowed, ClientGone."""
    routes = models.resolve(call)
    upstream, sent = routes[0].upstream, routes[0].call
    if not upstream.is_passthrough:
        validate(call.body, call.path)
    if upstream.shared_model_list_request() is None or upstream.resolves(sent.model):
        return routes
    try:
        listed = fetch_shared_list(upstream, proxy.links[upstream.name], context)
        return models.with_upstream(upstream.with_model_list(listed)).resolve(call)
    except ProxyError as error:
        context.discard_attempt(error)
        return routes


def require_gateway(proxy: Proxy) -> Models[Upstream]:
    """Give the models of the gateway that the door has. Raises NotFound when it has none."""
    if proxy.gateway is None:
        raise NotFound("There is no Argo gateway behind this door.")
    return proxy.gateway
