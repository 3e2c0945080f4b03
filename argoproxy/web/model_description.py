"""What becomes of a model: the rules for it, its upstreams, and the request that they would get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from argoproxy.config.config import Config
from argoproxy.errors import ProxyError
from argoproxy.protocol.access.masking import mask_json, mask_urls
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.json_text import Json, dumps, loads
from argoproxy.protocol.limits.limit_fields import format_limits
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.prices.price_fields import format_price
from argoproxy.protocol.prices.price_table import PriceTable, price_names
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings
from argoproxy.protocol.resilience.balance import Balancing
from argoproxy.protocol.resilience.resilience_settings import ResilienceSettings
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.protocol.routing.route import Route
from argoproxy.upstreams import Upstream
from argoproxy.web.upstream_factory import models_of

SAMPLE_BODY = {"messages": [{"role": "user", "content": "Hello!"}]}
#: The key of the sample request, for upstreams that take the user name from it.
SAMPLE_HEADERS = (("Authorization", "Bearer caller"),)
_REASONING: Mapping[Reasoning | None, str] = {
    None: "{tags} is removed from the text",
    Reasoning.STRIP: "{tags} and reasoning fields are removed",
    Reasoning.KEEP: "unchanged",
    Reasoning.FIELD: "moved to {field}",
    Reasoning.TAGS: "written as {first}",
}
_OPENINGS: Mapping[Opening, str] = {
    Opening.CLOSED: "",
    Opening.OPEN: "; an answer starts inside it",
    Opening.AUTO: "; a closing tag that comes first ends it",
}


def describe_model(config: Config, model: str) -> Json:
    """Return the rules and routes of a chat with a model. Raises ConfigError."""
    descriptions = {settings.name: settings.target.description for settings in config.upstreams}
    models = models_of(config)
    matches = models.find_rules(model, CHAT.path).matches
    document: Json = {"model": model, "rules": [f"{rule.name} ({source})" for source, rule in matches]}
    try:
        routes = models.resolve(_sample_call(model))
    except ProxyError as error:
        return {**document, "refused": error.message}
    document |= _describe_balancing(models.balancing_of(_sample_call(model)), routes)
    described = [
        {**_describe_route(route, descriptions[route.upstream.name]), **_describe_price(route, config.prices)}
        for route in routes
    ]
    return {**document, "routes": described}


def _describe_balancing(balancing: Balancing | None, routes: Sequence[Route[Upstream]]) -> Json:
    """Return how requests are shared among routes; nothing where their order never changes."""
    if balancing is None:
        return {}
    weights = {route.upstream.name: balancing.weight_of(route.upstream.name) for route in routes}
    return {"balance": str(balancing.policy), "weights": weights}


def _sample_call(model: str) -> Call:
    request = ClientRequest("", 0, "POST", CHAT.path, "", SAMPLE_HEADERS, BytesBody(b""), "caller")
    return make_call(request, {"model": model, **SAMPLE_BODY}, CHAT.path)


def _describe_route(route: Route[Upstream], description: str) -> Json:
    timeouts = {name: getattr(route.timeouts, name) for name in ("connect_s", "first_byte_s", "idle_s", "total_s")}
    document: Json = {
        "upstream": route.upstream.name,
        "description": description,
        "reasoning": _describe_reasoning(route.reasoning),
        "timeouts": {name: value for name, value in timeouts.items() if value != float("inf")},
        **_describe_failures(route.resilience),
        **_describe_limits(route.subjects),
        **_describe_cache(route.cache),
    }
    try:
        request = route.upstream.completion_request(route.call)
    except ProxyError as error:
        return {**document, "refused": error.message}
    body = _mask_body(request.body) if isinstance(request.body, bytes) else ""
    return {**document, "sent_to": mask_urls(request.url), "body": body}


def _describe_price(route: Route[Upstream], prices: PriceTable | None) -> Json:
    """Return what a million tokens cost; nothing where no prices are used."""
    if prices is None:
        return {}
    price = prices.price_of(price_names(route.upstream.name, route.call.model, route.call.requested_model))
    return {"price": format_price(price) if price else "unknown"}


def _describe_failures(settings: ResilienceSettings) -> Json:
    """Return what is set about failures of upstreams; nothing where that is the default."""
    default = ResilienceSettings()
    pairs = ((one.name, getattr(settings, one.name)) for one in fields(settings))
    changed = {name: value for name, value in pairs if value != getattr(default, name)}
    return {"failures": changed} if changed else {}


def _describe_limits(subjects: Sequence[LimitedSubject]) -> Json:
    """Return the limits of the rule and the upstream, by their names; nothing without any."""
    return {"limits": {one.name: format_limits(one.limits) for one in subjects}} if subjects else {}


def _describe_cache(policy: CachePolicy | None) -> Json:
    """Return how answers are kept; nothing if they are not."""
    return {"cache": asdict(policy)} if policy else {}


def _mask_body(body: bytes) -> str:
    """Return a JSON body with credentials starred: a rule may set some."""
    value = loads(body)
    masked = mask_json(value, ())
    return (body if masked is value else dumps(masked)).decode()


def _describe_reasoning(settings: ReasoningSettings) -> str:
    tags = " or ".join(f"{pair.start}…{pair.end}" for pair in settings.tags)
    text = _REASONING[settings.policy].format(tags=tags, first=tags.partition(" or ")[0], field=settings.field)
    return text if settings.policy is Reasoning.KEEP else text + _OPENINGS[settings.opening]
