"""What one request costs, on the route that answers it."""

from __future__ import annotations

from argoproxy.errors import Ending
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.price_table import NO_COST, Cost, PriceTable, price_names
from argoproxy.protocol.routing.route import Route
from argoproxy.upstreams import Upstream


class RequestPricing:
    """Prices usage; nothing costs anything before a route is taken, nor if the answer was a kept one."""

    is_free = False

    def __init__(self, prices: PriceTable) -> None:
        self._prices = prices
        self._route: Route[Upstream] | None = None
        self._requested_model = ""

    def set_route(self, route: Route[Upstream], requested_model: str) -> None:
        """Set the route that is tried now."""
        self._route, self._requested_model = route, requested_model

    def cost_of(self, usage: Json) -> int | None:
        """Return what a usage costs, in billionths; None if that is not known."""
        return 0 if self.is_free else self._prices.cost_of(usage, self._names())

    def charge(self, usage: Json | None, ending: Ending | None, status: int) -> Cost:
        """Return what the request cost: unknown if a whole answer told no usage, nothing if there was no answer."""
        if self.is_free:
            return Cost(0)
        is_whole = ending is Ending.COMPLETE and 200 <= status < 300
        names = self._names()
        return self._prices.charge(usage, names) if names and (usage or is_whole) else NO_COST

    def _names(self) -> tuple[str, ...]:
        route = self._route
        return price_names(route.upstream.name, route.call.model, self._requested_model) if route else ()
