"""All paths without a handler of their own: bytes up, bytes down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from argoproxy.pipeline.attempts import admit_routes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handover import record_response
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.access.header_rules import response_headers_for_client
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.api.passthrough import record_reply
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse, get_header
from argoproxy.protocol.reasoning.policy import ReasoningSettings
from argoproxy.protocol.routing.relay_target import find_relay_target, read_relayed_call
from argoproxy.protocol.routing.route import Provider, Route
from argoproxy.protocol.stream.filters import prefetch_first
from argoproxy.telemetry.journal.recorders import ByteCounter
from argoproxy.transport.reply import HttpReply
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import validate_path

_ERROR = 400
_TEXTUAL = re.compile("json|event-stream")


def relay(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Forward a request for any other path and answer with the reply, byte for byte. Raises ProxyError, ClientGone."""
    request, provider = find_relay_target(replace(request, path=validate_path(request.path)), proxy.models)
    upstream = provider.upstream
    context.set_upstream(upstream)
    if proxy.accountant is not None:
        request = _admit(request, provider, proxy, context)
    forwarded = upstream.forward_request(provider.withhold_credentials(request))
    reply = proxy.links[upstream.name].send_any_status(upstream, forwarded, provider.timeouts, context)
    headers = response_headers_for_client(reply.headers)
    response = ClientResponse(reply.status, headers, prefetch_first(_measure(reply, context)))
    return record_response(response, lambda _: ByteCounter(), context)


def _admit(
    request: ClientRequest, provider: Provider[Upstream], proxy: Proxy, context: RequestContext
) -> ClientRequest:
    """Admit a request that may have limits; return it with what was read of its body. Raises what `admit_routes`
    raises, and what reading raises."""
    request, context.call = read_relayed_call(request)
    model = context.call.model
    context.set_model(model)
    subjects = proxy.models.plan_for(model, request.path).subjects[0] if model else filter(None, (provider.limited,))
    route = Route(provider.upstream, context.call, provider.timeouts, ReasoningSettings(), subjects=tuple(subjects))
    admit_routes([route], proxy, context)
    return request


def _measure(reply: HttpReply, context: RequestContext) -> Iterator[bytes]:
    """Return the pieces of a reply. Where a model was used, its usage is recorded, and its text measured."""
    if context.account is None or not context.call.body or reply.status >= _ERROR:
        return reply.iter_raw()
    if not _TEXTUAL.search(get_header(reply.headers, "content-type")):
        return reply.iter_raw()
    pieces = context.account.meter.measure(reply.iter_raw(), CHAT.answer_texts)
    return record_reply(pieces, reply.headers, CHAT, context)
