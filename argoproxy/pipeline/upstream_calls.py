"""Ask upstreams: one, while its client is watched, or several side by side for their lists of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from argoproxy.errors import Ending, ProxyError, UpstreamProtocolError, UpstreamTimeout
from argoproxy.images.inline import Images
from argoproxy.pipeline.caches import CachedResult
from argoproxy.pipeline.context import RequestContext
from argoproxy.protocol.http_messages import ClientRequest
from argoproxy.protocol.routing.model_list import Listed, check_model_list
from argoproxy.protocol.routing.router import Models, Provider
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.parallel import run_in_parallel
from argoproxy.transport.reply import Reply
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream, UpstreamRequest

#: How long a list of models is waited for, where there is an answer without it.
LIST_S = 5.0
LIST_TIMEOUTS = Timeouts(4.5, 4.5, 4.5, 4.5)


@dataclass(frozen=True, slots=True)
class UpstreamLink:
    """How an upstream is reached: by which transport, with which images; its list of models, while it is remembered;
    `unwatched` makes what is waited with where nobody's client is to be watched."""

    transport: Transport
    images: Images
    listed: CachedResult[bytes]
    unwatched: Callable[[], Watch]


def send_any_status(
    upstream: Upstream, asked: UpstreamRequest, timeouts: Timeouts, link: UpstreamLink, context: RequestContext
) -> Reply:
    """Send one request and wait for whatever comes back; a client that reads errors only under a status of success is
    not given one as it is. Raises ProxyError, ClientGone."""
    context.record_attempt(upstream, asked)
    reply = link.transport.open(asked, timeouts, context.watch)
    context.add_reply(reply)
    if reply.status >= 400:
        context.set_ending(Ending.UPSTREAM_ERROR)
        if context.is_compatible:
            raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
    return reply


def send(
    upstream: Upstream, asked: UpstreamRequest, timeouts: Timeouts, link: UpstreamLink, context: RequestContext
) -> Reply:
    """Send one request to an upstream and wait for a reply of success. Raises ProxyError, ClientGone."""
    context.record_attempt(upstream, asked)
    reply = link.transport.open(asked, timeouts, context.watch)
    context.add_reply(reply)
    if not 200 <= reply.status < 300:
        raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
    return reply


def send_and_read(
    upstream: Upstream, asked: UpstreamRequest, timeouts: Timeouts, link: UpstreamLink, context: RequestContext
) -> bytes:
    """Send one request to an upstream and take the whole reply of success. Raises ProxyError, ClientGone."""
    body = send(upstream, asked, timeouts, link, context).read()
    context.record_reply_body(body)
    return body


def fetch_model_list(
    request: ClientRequest, provider: Provider[Upstream], link: UpstreamLink, context: RequestContext
) -> bytes:
    """Ask an upstream for its models, as this client sees them. Raises ProxyError, ClientGone."""
    upstream = provider.upstream
    context.set_upstream(upstream)
    if upstream.shared_model_list_request():
        return fetch_shared_list(upstream, link, context)
    return send_and_read(
        upstream, upstream.model_list_request(provider.withhold_credentials(request)), provider.timeouts, link, context
    )


def fetch_shared_list(upstream: Upstream, link: UpstreamLink, context: RequestContext) -> bytes:
    """Ask for a list of models that is the same for everybody: once in a while, and not for long. Raises ProxyError,
    ClientGone."""
    common = upstream.shared_model_list_request()
    if common is None:
        raise UpstreamProtocolError("This upstream has no common list of models.")
    return link.listed.result(lambda: send_and_read(upstream, common, LIST_TIMEOUTS, link, context))


def fetch_model_lists(
    request: ClientRequest, models: Models[Upstream], links: Mapping[str, UpstreamLink], context: RequestContext
) -> list[Listed]:
    """Ask all upstreams for their models: a list, or the failure, of each. Raises ClientGone."""
    created = request.created
    if len(models.providers) == 1:
        provider = models.default
        return [
            _listed(
                provider, created, lambda: fetch_model_list(request, provider, links[provider.upstream.name], context)
            )
        ]
    context.set_upstream(models.default.upstream)
    works = [
        partial(_listed, provider, created, partial(_list_aside, request, provider, links[provider.upstream.name]))
        for provider in models.providers
    ]
    return [_in_time(future) for future in run_in_parallel(works, LIST_S, context.watch)]


def _listed(provider: Provider[Upstream], created: int, work: Callable[[], bytes]) -> Listed:
    try:
        return check_model_list(provider.upstream.read_model_list(work(), "", created))
    except ProxyError as error:
        return error


def _list_aside(request: ClientRequest, provider: Provider[Upstream], link: UpstreamLink) -> bytes:
    """Ask for a list in a thread of its own; one that a key of ours is shown is remembered. Raises ProxyError."""
    upstream = provider.upstream
    common = upstream.shared_model_list_request()
    asked = common or upstream.model_list_request(provider.withhold_credentials(request))
    work = partial(_read, upstream, asked, link)
    return link.listed.result(work) if common or provider.is_keyed else work()


def _read(upstream: Upstream, asked: UpstreamRequest, link: UpstreamLink) -> bytes:
    watch = link.unwatched()
    try:
        reply = link.transport.open(asked, LIST_TIMEOUTS, watch)
        try:
            if not 200 <= reply.status < 300:
                raise upstream.read_error(reply.status, reply.headers, reply.read_error_body())
            return reply.read()
        finally:
            reply.release_when_done()
    finally:
        watch.close()


def _in_time(future: Future[Listed]) -> Listed:
    return future.result() if future.done() else UpstreamTimeout("The upstream's list did not come in time.")
