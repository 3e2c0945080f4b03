"""`/v1/models` and `/v1/models/{id}`: ask upstreams for their models, one or several side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamTimeout
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.proxy import LIST_TIMEOUTS, Proxy, UpstreamLink
from argoproxy.protocol.api.endpoints import answer_document
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.messages.model_pages import as_list_request, make_entry, make_page, wants_pages
from argoproxy.protocol.routing.model_list import (
    Listed,
    add_catalog,
    check_model_list,
    find_entry,
    join_pages,
    merge_model_lists,
    wants_catalog,
)
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.stream.sse import Document
from argoproxy.transport.parallel import run_in_parallel
from argoproxy.upstreams import Upstream, UpstreamRequest

#: How long all lists together are waited for, a little longer than for each; an upstream that is late is left out.
LIST_S = 5.0
#: Pages of the models of one upstream; Anthropic's have up to a thousand models.
MOST_PAGES = 20


def list_models(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with the models of all upstreams and the pseudo-models. Raises ProxyError, ClientGone."""
    query, has_pages = request.query, wants_pages(request)
    request = as_list_request(request) if has_pages else request
    lists = _fetch_all(request, proxy, context)
    document = merge_model_lists(proxy.models, lists, request.created)
    if not isinstance(lists[0], Document):
        context.discard_attempt(lists[0])
        context.clear_reply_head()
    if has_pages:
        document = make_page(document, query)
    elif wants_catalog(query):
        document = add_catalog(document, proxy.models)
    return answer_document(document, context)


def show_model(request: ClientRequest, name: str, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with the entry of one model: its upstream's, else the proxy's own. Raises ProxyError, ClientGone."""
    models, created, has_pages = proxy.models, request.created, wants_pages(request)
    request = as_list_request(request) if has_pages else request
    context.set_model(name)
    models.allowed.check(name)
    provider = models.provider_of(name)
    link = proxy.links[provider.upstream.name]
    try:
        document = provider.upstream.read_model_list(_fetch(request, provider, link, context), name, created)
    except ProxyError as error:
        context.discard_attempt(error)
        entry = find_entry(models, name, created)
        if entry is None:
            raise
        document = entry
        context.clear_reply_head()
    return answer_document(make_entry(document) if has_pages else document, context)


def _fetch(request: ClientRequest, provider: Provider[Upstream], link: UpstreamLink, context: RequestContext) -> bytes:
    """Return the list of models of an upstream, as this caller sees it. Raises ProxyError, ClientGone."""
    upstream = provider.upstream
    context.set_upstream(upstream)
    if upstream.shared_model_list_request():
        return link.fetch_model_list(upstream, context)
    asked = upstream.model_list_request(provider.withhold_credentials(request))
    return _read_pages(upstream, asked, lambda page: link.send_and_read(upstream, page, provider.timeouts, context))


def _fetch_all(request: ClientRequest, proxy: Proxy, context: RequestContext) -> list[Listed]:
    """Return, for each upstream, its list of models or its failure. Raises ClientGone."""
    models, created = proxy.models, request.created
    if len(models.providers) == 1:
        link = proxy.links[models.default.upstream.name]
        return [_parse_list(models.default, created, lambda: _fetch(request, models.default, link, context))]
    context.set_upstream(models.default.upstream)
    works = [
        partial(_parse_list, one, created, partial(_fetch_in_thread, request, one, proxy.links[one.upstream.name]))
        for one in models.providers
    ]
    return [_result_or_timeout(future) for future in run_in_parallel(works, LIST_S, context.watch)]


def _parse_list(provider: Provider[Upstream], created: int, fetch: Callable[[], bytes]) -> Listed:
    try:
        return check_model_list(provider.upstream.read_model_list(fetch(), "", created))
    except ProxyError as error:
        return error


def _fetch_in_thread(request: ClientRequest, provider: Provider[Upstream], link: UpstreamLink) -> bytes:
    """Return a list of models, fetched in a thread, which has no context: nothing is journalled. A list that does not
    depend on the caller is cached. Raises ProxyError."""
    upstream = provider.upstream
    shared = upstream.shared_model_list_request()
    asked = shared or upstream.model_list_request(provider.withhold_credentials(request))
    fetch = partial(_read_pages, upstream, asked, lambda page: _send_and_read(upstream, page, link))
    return link.model_list.result(fetch) if shared or provider.is_keyed else fetch()


def _read_pages(upstream: Upstream, request: UpstreamRequest, read: Callable[[UpstreamRequest], bytes]) -> bytes:
    """Return a list of models, all of its pages as one. Raises ProxyError."""
    bodies = [read(request)]
    while following := upstream.next_models_request(request, bodies[-1]):
        if len(bodies) == MOST_PAGES:
            raise UpstreamProtocolError(f"The upstream's list of models has more than {MOST_PAGES} pages.")
        bodies.append(read(following))
    return bodies[0] if len(bodies) == 1 else join_pages(bodies)


def _send_and_read(upstream: Upstream, request: UpstreamRequest, link: UpstreamLink) -> bytes:
    watch = link.unwatched()
    try:
        reply = link.transport.open(request, LIST_TIMEOUTS, watch)
        try:
            if not 200 <= reply.status < 300:
                raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
            return reply.read()
        finally:
            reply.release_when_done()
    finally:
        watch.close()


def _result_or_timeout(future: Future[Listed]) -> Listed:
    return future.result() if future.done() else UpstreamTimeout("The upstream's list of models did not come in time.")
