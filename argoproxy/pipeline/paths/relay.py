"""All paths without a handler of their own: bytes up, bytes down."""

from __future__ import annotations

from dataclasses import replace

from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handover import record_response
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.access.header_rules import response_headers_for_client
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.routing.relay_target import find_relay_target
from argoproxy.protocol.stream.filters import prefetch_first
from argoproxy.telemetry.journal.recorders import ByteCounter
from argoproxy.upstreams.base_url import validate_path


def relay(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Forward a request for any other path and answer with the reply, byte for byte. Raises ProxyError, ClientGone."""
    request, provider = find_relay_target(replace(request, path=validate_path(request.path)), proxy.models)
    upstream = provider.upstream
    context.set_upstream(upstream)
    forwarded = upstream.forward_request(provider.withhold_credentials(request))
    reply = proxy.links[upstream.name].send_any_status(upstream, forwarded, provider.timeouts, context)
    headers = response_headers_for_client(reply.headers)
    response = ClientResponse(reply.status, headers, prefetch_first(reply.iter_raw()))
    return record_response(response, lambda _: ByteCounter(), context)
