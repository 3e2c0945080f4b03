"""`config show --model`: the rules for a model, its upstreams, and the request that they would get, as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator

from argoproxy.config.config import Config
from argoproxy.web.model_description import describe_model


def explain_model(config: Config, model: str) -> Iterator[str]:
    """Yield lines of YAML: the rules and routes of a chat with a model. Raises ConfigError."""
    document = describe_model(config, model)
    yield f"# how a chat with the model {model} is served"
    yield f"rules: {_json(document['rules'])}"
    if "refused" in document:
        yield f"refused: {_json(document['refused'])}"
    for key in ("balance", "weights"):
        if key in document:
            yield f"{key}: {_json(document[key])}"
    for route in document.get("routes", ()):
        yield f"upstream: {_json(route['upstream'])}  # {route['description']}"
        yield f"  reasoning: {_json(route['reasoning'])}"
        yield f"  timeouts: {_json(route['timeouts'])}"
        for key in ("failures", "limits", "price", "cache"):
            if key in route:
                yield f"  {key}: {_json(route[key])}"
        if "refused" in route:
            yield f"  refused: {_json(route['refused'])}"
        else:
            yield f"  sent to: {_json(route['sent_to'])}"
            yield f"  body: {route['body']}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
