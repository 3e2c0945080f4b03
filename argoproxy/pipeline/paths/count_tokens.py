"""`/v1/messages/count_tokens`: an upstream that speaks Messages counts itself; for others the tokens are estimated."""

from __future__ import annotations

from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.handlers import resolve_routes, run_handover
from argoproxy.pipeline.handover import is_handed_over
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse
from argoproxy.protocol.messages.endpoint import COUNT_TOKENS, answer_count


def count_tokens(request: ClientRequest, proxy: Proxy, context: RequestContext) -> ClientResponse:
    """Answer with the number of tokens of a request. Raises ProxyError, ClientGone."""
    call = COUNT_TOKENS.parse(request, proxy.body_limit)
    context.set_call(call)
    context.pricing = None  # providers do not charge for it
    routes = resolve_routes(call, proxy.models, proxy, context)
    able = [route for route in routes if is_handed_over(route, proxy)]
    return run_handover(able, COUNT_TOKENS, proxy, context) if able else answer_count(call)
