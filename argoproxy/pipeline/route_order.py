"""The order in which the routes of a request are tried, where its rule chooses between several upstreams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import random

from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.http_messages import get_header, without
from argoproxy.protocol.resilience.balance import Balance, Balancing, Candidate, order_candidates
from argoproxy.protocol.resilience.session_key import SESSION_HEADER, session_key
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.route import Route
from argoproxy.protocol.routing.router import Models
from argoproxy.shared_state.upstream_state import UpstreamStates
from argoproxy.upstreams import Upstream

_SESSION = frozenset((SESSION_HEADER,))


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """The order that was chosen for a request, as the names of upstreams; without names, that of its rule."""

    names: Sequence[str] = ()
    policy: Balance = Balance.ORDERED

    def arrange(self, routes: Sequence[Route[Upstream]]) -> Sequence[Route[Upstream]]:
        """Return routes of the request in this order; those to other upstreams are last."""
        if not self.names:
            return routes
        places = {name: place for place, name in enumerate(self.names)}
        arranged = sorted(routes, key=lambda route: places.get(route.upstream.name, len(places)))
        return [_without_session(route) for route in arranged] if self.policy is Balance.STICKY else arranged


ORDER_OF_RULE = RouteOrder()


def choose_order(
    routes: Sequence[Route[Upstream]], models: Models[Upstream], call: Call, states: UpstreamStates
) -> RouteOrder:
    """Choose the order of the routes of a call."""
    balancing = models.balancing_of(call) if len(routes) > 1 else None
    if balancing is None:
        return ORDER_OF_RULE
    asked = call.origin or call
    key = session_key(asked.headers, asked.body) if balancing.policy is Balance.STICKY else ""
    candidates = [_describe(route, balancing, states) for route in routes]
    ordered = order_candidates(balancing.policy, candidates, key, random)
    return RouteOrder([candidate.name for candidate in ordered], balancing.policy)


def resolve_in_order(
    model: str, call: Call, models: Models[Upstream], states: UpstreamStates
) -> Sequence[Route[Upstream]]:
    """Return the routes of a call for another model, in their order. The rule of a model names the other one, so the
    list of models that clients may name does not matter."""
    models, renamed = replace(models, allowed=AllowList()), call.with_body({**call.body, "model": model})
    routes = models.resolve(renamed)
    return choose_order(routes, models, renamed, states).arrange(routes)


def _describe(route: Route[Upstream], balancing: Balancing, states: UpstreamStates) -> Candidate:
    name = route.upstream.name
    state = states.of(name)
    is_available = state.reopens_in_s(route.call.model) <= 0
    return Candidate(name, balancing.weight_of(name), state.open_streams(), is_available)


def _without_session(route: Route[Upstream]) -> Route[Upstream]:
    """Return a route without the header by which it was chosen: it was meant for this proxy. Where no rule reads it, it
    goes to the upstream like the client's other headers."""
    call, origin = route.call, route.call.origin
    if not get_header(call.headers, SESSION_HEADER):
        return route
    origin = origin and replace(origin, headers=without(origin.headers, _SESSION))
    return replace(route, call=replace(call, headers=without(call.headers, _SESSION), origin=origin))
