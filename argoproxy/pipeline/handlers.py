"""The way of a request, from a parsed HTTP request to the response that goes back. A streamed chat goes like this:

1. `web/app.py` creates the RequestContext, authenticates the caller and calls `handle_chat`.
2. `Endpoint.parse` reads the body: a Call. A malformed body is refused.
3. `resolve_routes` applies the model's rules: Routes, best first, each an upstream and the call as it goes there;
   `choose_order` says which is best where the rule balances.
4. `attempt_route` sends the call along one route and waits for the head of the reply. An error status is raised.
5. `try_routes` asks the limits that apply, where there are any (`accounting/`), and runs attempts until one brings
   content; `RouteQueue` decides which route follows after which failure.
6. The upstream's adapter reads the reply as batches: lists of events that arrived together. An empty batch is a moment
   in which the upstream was silent.
7. `prefetch_first` waits for the first batch here: up to now a failure still gets an HTTP status of its own.
8. `apply_filters` runs each batch through `response_filters`: count tokens, repair tool calls, remove thoughts, ...
9. `answer` gives the client the form it wants: events as they come, or one document. From now on a failure is the
   stream's last event.
10. `web/flask_io.py` sends it and closes the context: connections are released, limits are charged, the outcome goes to
   the listeners.

A request of another API than chats is parsed to a chat that keeps it as its `origin`. On a route whose upstream speaks
that API itself, `run_handover` sends the origin, and its reply is not changed at all.
Where a rule has a `cache`, `find_kept_answer` looks for one before an upstream is asked, in place of steps 4 to 7.
A route whose upstream `is_passthrough` goes through `run_passthrough`: its reply is not changed at all.
Paths that are no chats have handlers of their own in `paths/`; `paths/relay.py` serves all others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from argoproxy.errors import BadRequest, ProxyError, UpstreamStatus
from argoproxy.pipeline.attempts import try_routes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handover import (
    RawStatus,
    answer_handed_over,
    answer_raw_status,
    attempt_handover,
    attempt_passthrough,
    is_handed_over,
    is_path_missing,
)
from argoproxy.pipeline.kept_answers import find_kept_answer
from argoproxy.pipeline.proxy import Proxy
from argoproxy.pipeline.route_order import choose_order
from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.api.endpoints import (
    Endpoint,
)
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.stream.chunk_fields import ModelNameFilter, UsageMeter, UsageRemover
from argoproxy.protocol.stream.filters import Filter, apply_filters, prefetch_first
from argoproxy.protocol.stream.output_meter import AnswerMeter
from argoproxy.protocol.stream.sse import Batch
from argoproxy.protocol.stream.tool_calls import ToolCallFilter
from argoproxy.protocol.stream.usage_cost import UsageCostFilter
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base import read_in_runs

logger = logging.getLogger("argoproxy")
#: How many places of a request that were left out are named in the log.
MOST_PLACES = 20


def handle_chat(request: ClientRequest, endpoint: Endpoint, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Serve a chat or a legacy completion. Raises ProxyError, ClientGone."""
    call = endpoint.parse(request, proxy.body_limit)
    context.set_call(call)
    if context.early and call.stream:
        context.early.enable(endpoint.heartbeat)
    routes = resolve_routes(call, proxy.models, proxy, context)
    if any(is_handed_over(route, proxy) for route in routes):
        return run_handover(routes, endpoint, proxy, context)
    return run_chat(routes, endpoint, proxy, context)


def run_chat(
    routes: Sequence[Route[Upstream]], endpoint: Endpoint, proxy: Proxy, context: RequestContext
) -> ClientResponse:
    """Send a call upstream and answer with what comes back. Raises ProxyError, ClientGone."""
    if routes[0].upstream.is_passthrough:
        return run_passthrough(routes, endpoint, proxy, context)
    endpoint.check(context.call)
    if routes[0].cache and (kept := find_kept_answer(routes, proxy, context)):
        return answer_chat([kept], endpoint, proxy, context)
    batches = try_routes(routes, lambda route: attempt_route(route, proxy, context), proxy, context)
    return answer_chat(prefetch_first(batches), endpoint, proxy, context)


def answer_chat(batches: Iterable[Batch], endpoint: Endpoint, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with the batches of a reply, filtered. Raises ProxyError, ClientGone."""
    call = context.call
    batches = apply_filters(batches, lambda: response_filters(call, proxy, context))
    return endpoint.answer(batches, call, context)


def run_handover(
    routes: Sequence[Route[Upstream]], endpoint: Endpoint, proxy: Proxy, context: RequestContext
) -> ClientResponse:
    """Send a call upstream that on some of its routes is handed over in its client's own words, and answer with what
    comes back. Raises ProxyError, ClientGone."""

    # Whether what comes back is the upstream's own bytes. Data decides: until then, another route may be tried.
    is_own = False

    def attempt(route: Route[Upstream]) -> Iterator[Batch | bytes]:
        nonlocal is_own
        is_own = is_handed_over(route, proxy)
        if is_own:
            try:
                yield from attempt_handover(route, endpoint, proxy, context)
                return
            except UpstreamStatus as error:
                if not is_path_missing(route, error, proxy):
                    raise
                context.discard_attempt(error)
            is_own = False
        endpoint.check(context.call)
        batches = attempt_route(route, proxy, context)
        # The form of the answer is that of the route, so nothing may go out before this is settled.
        yield from filter(None, batches) if may_change_form(route) else batches

    def may_change_form(route: Route[Upstream]) -> bool:
        is_last = route.upstream.name == routes[-1].upstream.name and not route.resilience.context_fallback
        return not is_last and any(is_handed_over(other, proxy) for other in routes)

    # The form of a request that is handed over is its client's.
    routes = [replace(route, other_mode=None) if is_handed_over(route, proxy) else route for route in routes]
    try:
        endpoint.check(context.call)
    except BadRequest:  # only its own API can say this, so only upstreams that speak it are asked
        routes = [route for route in routes if is_handed_over(route, proxy)]
    steps = prefetch_first(try_routes(routes, attempt, proxy, context))
    if is_own:
        return answer_handed_over(cast("Iterator[bytes]", steps), endpoint, context)
    return answer_chat(cast("Iterator[Batch]", steps), endpoint, proxy, context)


def resolve_routes(
    call: Call, models: Models[Upstream], proxy: Proxy, context: RequestContext
) -> Sequence[Route[Upstream]]:
    """Return the routes of a call, best first. A model that its upstream can resolve only with its list of models has
    that list fetched first; if that fails, the name goes up as it is. Raises BadRequest, also for a body that no
    upstream would take (is_passthrough ones check it themselves); ModelNotAllowed, ClientGone."""
    routes: Sequence[Route[Upstream]] = models.resolve(call)
    if not routes[0].upstream.is_passthrough:
        with call.name_client_fields():
            validate(call.body, call.path)
    order = choose_order(routes, models, call, proxy.states)
    routes = order.arrange(routes)
    upstream, sent = routes[0].upstream, routes[0].call
    if upstream.shared_model_list_request() is None or upstream.resolves(sent.model):
        return routes
    try:
        listed = proxy.links[upstream.name].fetch_model_list(upstream, context)
        return order.arrange(models.with_upstream(upstream.with_model_list(listed)).resolve(call))
    except ProxyError as error:
        context.discard_attempt(error)
        return routes


def attempt_route(route: Route[Upstream], proxy: Proxy, context: RequestContext) -> Iterator[Batch]:
    """Send the call along one route and yield the reply's batches. Raises ProxyError, ClientGone, at any point."""
    if route.call.origin is not None:
        route = replace(route, call=route.call.for_upstream(route.upstream.name))
    context.set_route(route)
    _log_omissions(context)
    link = proxy.links[route.upstream.name]
    with route.call.name_client_fields():
        call = link.images.inline(route.call, context.watch)
        request = route.upstream.completion_request(call)
    reply = link.send(route.upstream, request, route.timeouts, context)
    for batch in read_in_runs(route.upstream, reply, call):
        if not batch:
            context.watch.check_client()
        yield batch


def _log_omissions(context: RequestContext) -> None:
    """Log what the call on its route does not hold of a request that was converted."""
    left_out = context.route.call.left_out
    if left_out and logger.isEnabledFor(logging.DEBUG):
        places = log_value(context.redact(" ".join(left_out[:MOST_PLACES])))
        logger.debug("code=left_out id=%s count=%s places=%s", context.id, len(left_out), places)


def response_filters(call: Call, proxy: Proxy, context: RequestContext) -> Sequence[Filter]:
    """Return the filters between the reply and the client; the route that was taken decides which. The journal's
    recorders stand at both ends: what the upstream said, and what the client gets."""
    route = context.route
    filters: list[Filter] = [_answer_meter(context), ToolCallFilter()]
    filters += reasoning_filters(route.reasoning, partial(proxy.lone_closing_tags.warn, call.requested_model))
    filters += route.upstream.filters(route.call)
    if route.call.include_usage and not (call.include_usage or call.wants_document):
        filters.append(UsageRemover())
    if proxy.tells_cost and context.pricing:
        filters.append(UsageCostFilter(context.pricing.cost_of))
    if route.answers_as:
        filters.append(ModelNameFilter(route.answers_as))
    if context.cache:
        filters = [*context.cache.add_recorders(filters, route)]
    if context.record:
        from_upstream, to_client = context.record.make_recorders()
        filters = [from_upstream, *filters, to_client]
    return filters


def _answer_meter(context: RequestContext) -> Filter:
    """Return what reads the usage of a reply, and counts its text if it is charged by that."""
    account = context.account
    if account is None or account.is_hit:
        return UsageMeter(context.record_usage)
    return AnswerMeter(context.record_usage, account.meter)


def run_passthrough(
    routes: Sequence[Route[Upstream]], endpoint: Endpoint, proxy: Proxy, context: RequestContext
) -> ClientResponse:
    """Send a call upstream and answer with the reply byte for byte, whatever its status. Raises ProxyError,
    ClientGone."""
    if context.early:
        context.early.disable()
    attempt = partial(attempt_passthrough, routes=routes, proxy=proxy, context=context)
    try:
        pieces = prefetch_first(try_routes(routes, attempt, proxy, context))
    except RawStatus as error:
        return answer_raw_status(error, context)
    return answer_handed_over(pieces, endpoint, context)
