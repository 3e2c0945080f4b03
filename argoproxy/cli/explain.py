"""What becomes of a model: which rules count for it, who answers, and what would be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

from argoproxy.config.config import Config
from argoproxy.errors import ProxyError
from argoproxy.protocol.access.masking import mask_json, mask_urls
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.json_text import dumps, loads
from argoproxy.protocol.reasoning.policy import Reasoning, ReasoningSettings
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.protocol.routing.router import Route
from argoproxy.upstreams import Upstream
from argoproxy.web.upstream_factory import models_of

ASKED = {"messages": [{"role": "user", "content": "Hello!"}]}
#: In whose name the request is shown, where a caller's key is the user.
CALLER = (("Authorization", "Bearer caller"),)


def explained(config: Config, model: str) -> Iterator[str]:
    """Give, line by line as YAML, what becomes of a chat with a model. Raises ConfigError."""
    shown = {settings.name: settings.target.description for settings in config.upstreams}
    models = models_of(config)
    yield f"# what becomes of a chat with the model {model}"
    found = models.find_rules(model, CHAT.path).matches
    yield "rules: " + _json([f"{rule.name} ({source})" for source, rule in found])
    try:
        routes = models.resolve(_chat(model))
    except ProxyError as error:
        yield f"refused: {_json(error.message)}"
        return
    for route in routes:
        yield from _told(route, shown[route.upstream.name])


def _chat(model: str) -> Call:
    request = ClientRequest("", 0, "POST", CHAT.path, "", CALLER, BytesBody(b""), "caller")
    return make_call(request, {"model": model, **ASKED}, CHAT.path)


def _told(route: Route[Upstream], shown: str) -> Iterator[str]:
    yield f"upstream: {_json(route.upstream.name)}  # {shown}"
    yield f"  thoughts: {_json(_thoughts(route.reasoning))}"
    timeouts = {name: getattr(route.timeouts, name) for name in ("connect_s", "first_byte_s", "idle_s", "total_s")}
    yield f"  timeouts: {_json({name: said for name, said in timeouts.items() if said != float('inf')})}"
    try:
        asked = route.upstream.completion_request(route.call)
    except ProxyError as error:
        yield f"  refused: {_json(error.message)}"
        return
    yield f"  sent to: {_json(mask_urls(asked.url))}"
    yield f"  body: {_mask_body(asked.body) if isinstance(asked.body, bytes) else ''}"


def _mask_body(body: bytes) -> str:
    """Return a JSON body with credentials starred: a rule may set some."""
    value = loads(body)
    masked = mask_json(value, ())
    return (body if masked is value else dumps(masked)).decode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _thoughts(settings: ReasoningSettings) -> str:
    policy = settings.policy or "tags are removed"
    tags = " ".join(f"{pair.start} … {pair.end}" for pair in settings.tags)
    return str(policy) if policy is Reasoning.KEEP else f"{policy}; tags {tags}; a text starts {settings.opening}"
