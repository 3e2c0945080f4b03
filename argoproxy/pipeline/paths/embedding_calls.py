"""`/v1/embeddings`: one request of a client may be many of the upstream's."""

from __future__ import annotations

from collections.abc import Iterator

from argoproxy.pipeline.attempts import try_routes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handlers import resolve_routes, run_passthrough
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.api.endpoints import EMBEDDINGS, answer_document
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.stream.chunk_fields import ModelNameFilter, UsageMeter
from argoproxy.protocol.stream.sse import Document
from argoproxy.protocol.stream.usage_cost import UsageCostFilter
from argoproxy.upstreams import Upstream


def handle_embeddings(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Serve a request for embeddings. Raises ProxyError, ClientGone."""
    call = EMBEDDINGS.parse(request, proxy.body_limit)
    context.set_call(call)
    routes = resolve_routes(call, proxy.models, proxy, context)
    if routes[0].upstream.is_passthrough:
        return run_passthrough(routes, EMBEDDINGS, proxy, context)
    document = next(try_routes(routes, lambda route: attempt_embeddings(route, proxy, context), proxy, context))
    UsageMeter(context.record_usage).feed([document])
    if proxy.tells_cost and context.pricing:
        document = UsageCostFilter(context.pricing.cost_of).set_cost(document)
    if context.route.answers_as:
        document = ModelNameFilter(context.route.answers_as).set_model(document)
    return answer_document(document, context)


def attempt_embeddings(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Document]:
    """Send the call along one route, in as many requests as the upstream needs, and yield the document made of their
    replies. Raises ProxyError, ClientGone."""
    context.set_route(route)
    upstream, link = route.upstream, proxy.links[route.upstream.name]
    requests = upstream.embedding_requests(route.call)
    bodies = [link.send_and_read(upstream, request, route.timeouts, context) for request in requests]
    document = upstream.read_embeddings(bodies, route.call)
    if context.record:
        context.record.document = document
    yield document
