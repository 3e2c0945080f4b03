"""Look for the kept answer to a request, before an upstream is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from argoproxy.errors import ProxyError
from argoproxy.pipeline.caching.answer_cache import CachedRequest
from argoproxy.pipeline.context import RequestContext
from argoproxy.pipeline.proxy import Proxy
from argoproxy.protocol.cache.cache_key import Asker, find_credentials
from argoproxy.protocol.cache.cache_policy import CacheScope
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.stream.sse import Batch
from argoproxy.upstreams import Upstream


def find_kept_answer(routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext) -> Batch | None:
    """Return the kept answer to a request; None if an upstream is to be asked, whose answer is then kept. Raises
    NotCached, ClientGone; LimitExceeded, LimitsUnavailable for a kept one."""
    policy = routes[0].cache
    if proxy.cache is None or policy is None:
        return None
    asker = _asker_of(context)
    if proxy.authenticator and not asker.is_known and policy.scope is not CacheScope.ALL:
        return None  # a plug-in knows it from others, but does not say how
    request = CachedRequest(proxy.cache, tuple(_equal_routes(routes, proxy, context)), policy, asker)
    context.set_cache(request)
    found = request.find(context.watch)
    if found is not None:
        _admit(request, proxy, context)
        context.set_kept_route(request.route)
        if context.pricing:
            context.pricing.is_free = True
    return found


def _admit(request: CachedRequest, proxy: Proxy, context: RequestContext) -> None:
    """Count a request that is given a kept answer. Raises LimitExceeded, LimitsUnavailable."""
    if proxy.accountant is None:
        return
    try:
        proxy.accountant.admit_hit(request.route, context)
    except ProxyError:
        request.withdraw()
        raise


def _equal_routes(
    routes: Sequence[Route[Upstream]], proxy: Proxy, context: RequestContext
) -> Iterator[Route[Upstream]]:
    """Yield the routes whose answers are as good as a new one: all of a rule that balances; else the first one, and its
    spares only as long as it is left alone."""
    is_balanced = len(routes) > 1 and proxy.models.balancing_of(context.call) is not None
    for route in routes:
        yield route
        is_available = proxy.states.of(route.upstream.name).reopens_in_s(route.call.model) <= 0
        if is_available and not is_balanced:
            return


def _asker_of(context: RequestContext) -> Asker:
    # The chat of a request of another API has lost the headers that are about that API, keys among them.
    caller, asked = context.caller, context.call.origin or context.call
    return Asker(caller.key_id, caller.name, caller.team, find_credentials(asked.headers, asked.query))
