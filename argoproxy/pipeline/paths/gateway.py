"""The Argo gateway's own paths: `/v1/chat` in its own format, and `/v1/status`."""

from __future__ import annotations

from dataclasses import replace

from argoproxy.errors import NotFound
from argoproxy.pipeline.attempts import admit_routes
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handlers import attempt_route, resolve_routes, run_chat
from argoproxy.pipeline.handover import record_response
from argoproxy.pipeline.place_keeper import keep_place
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.api.endpoints import CHAT, RAW, answer_raw
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.routing.call import make_call
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.stream.filters import prefetch_first
from argoproxy.telemetry.journal.recorders import ByteRecorder
from argoproxy.upstreams import Upstream

HELLO = {"model": "gpt4o", "messages": [{"role": "user", "content": "Say hello."}]}


def handle_raw_chat(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Serve a chat in the Argo gateway's own format, without filters. Raises ProxyError, ClientGone."""
    call = RAW.parse(request, proxy.body_limit)
    context.set_call(call)
    route, *_ = admit_routes(resolve_routes(call, require_gateway(proxy), proxy, context)[:1], proxy, context)
    context.place = keeper = keep_place(proxy.places, context)
    keeper.wait([route])
    batches = attempt_route(route, proxy, context)
    if context.account:
        batches = map(context.account.meter.count_whole, batches)
    response = answer_raw(prefetch_first(batches), call, context)
    return record_response(response, ByteRecorder, context)


def handle_gateway_status(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Send a short chat to the Argo gateway, to show that it answers. Raises ProxyError, ClientGone."""
    call = make_call(request, HELLO, CHAT.path)
    context.set_call(call)
    models = replace(require_gateway(proxy), allowed=AllowList())
    return run_chat(resolve_routes(call, models, proxy, context), CHAT, proxy, context)


def require_gateway(proxy: Proxy) -> Models[Upstream]:
    """Return the models of the Argo gateway. Raises NotFound if there is none."""
    if proxy.gateway is None:
        raise NotFound("No Argo gateway is configured.")
    return proxy.gateway
