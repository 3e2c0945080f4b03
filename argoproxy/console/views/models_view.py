"""`/api/models`: which models there are, who serves them by which rule, and how fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from argoproxy.console.views.recent_requests import (
    KEEP_S,
    MINUTE_S,
    RecentRequest,
    find_percentiles,
    last_ending,
    make_strip,
)
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, no_counts
from argoproxy.console.views.view_shapes import ModelsView, ShownModel
from argoproxy.errors import ProxyError
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.json_text import Json, as_dict
from argoproxy.protocol.routing.rules import DEFAULT
from argoproxy.telemetry.labels import OTHER

MINUTES = int(KEEP_S // MINUTE_S)
#: Models that are shown; a gateway may list thousands.
MOST_MODELS = 1000


def show_models(
    sources: Sources, listed: Sequence[str], recent: Sequence[RecentRequest], totals: Totals, now: float
) -> list[ShownModel]:
    """Return the models that rules name, that upstreams list (`listed`), and that clients asked for, those with most
    requests first."""
    requests: defaultdict[str, list[RecentRequest]] = defaultdict(list)
    for one in recent:
        requests[one.model].append(one)
    used = (name for name in (*totals.by_model, *requests) if name not in ("", OTHER))
    names = dict.fromkeys((*_named_by_rules(sources), *used, *listed))
    ordered = sorted(names, key=lambda name: -(totals.by_model.get(name) or no_counts())["requests"])
    known = frozenset(listed)
    return [
        {
            **_describe_once(sources, name),
            "is_listed": name in known,
            "counts": totals.by_model.get(name) or no_counts(),
            **_describe_recent(requests[name], now),  # type: ignore[typeddict-item]
        }
        for name in ordered[:MOST_MODELS]
    ]


def add_circuits(models: Iterable[ShownModel], states: Mapping[str, Json]) -> list[ShownModel]:
    """Return models with the circuit of each at its first upstream."""
    return [{**model, "circuit": _find_circuit(model, states)} for model in models]


def make_view(models: list[ShownModel], totals: Totals) -> ModelsView:
    """Return the view of models."""
    return {"models": models, "minutes": MINUTES, "started_at": totals.started_at, "reason": totals.reason}


def _named_by_rules(sources: Sources) -> list[str]:
    return [rule.name for rule in sources.config.rules if not rule.is_pattern and rule.name != DEFAULT]


def _describe_once(sources: Sources, name: str) -> ShownModel:
    """Return what the settings say of a model; rules are compared once for each name and reload."""
    found = sources.described.get(name)
    if found is None:
        if len(sources.described) >= 2 * MOST_MODELS:
            sources.described.clear()
        found = sources.described[name] = _describe_model(sources, name)
    return found


def _describe_model(sources: Sources, name: str) -> ShownModel:
    """Return what the settings say of a model, and no numbers."""
    models, refused = sources.models, ""
    try:
        models.allowed.check(name)
    except ProxyError as error:
        refused = error.message
    matched = models.find_rules(name, CHAT.path)
    combined = matched.combine()
    return {
        "name": sources.mask(name),
        "upstreams": [provider.upstream.name for provider in models.plan_for(name, CHAT.path).providers],
        "rules": [f"{rule.name} ({source})" for source, rule in matched.matches],
        "is_model": (combined.upstream_model_name or ""),
        "is_listed": False,
        "refused": refused,
        "circuit": {},
        "counts": no_counts(),
        "first_byte_ms": {"p50": None, "p95": None},
        "total_ms": {"p50": None, "p95": None},
        "recent": 0,
        "last": None,
        "strip": [],
    }


def _describe_recent(requests: Sequence[RecentRequest], now: float) -> Json:
    complete = [one for one in requests if not one.has_failed]
    return {
        "first_byte_ms": find_percentiles(one.first_byte_ms for one in complete),
        "total_ms": find_percentiles(one.total_ms for one in complete),
        "recent": len(requests),
        "last": last_ending(requests),
        "strip": make_strip(requests, now, MINUTES) if requests else [],
    }


def _find_circuit(model: ShownModel, states: Mapping[str, Json]) -> Json:
    """Return the circuit of a model: its own if that is not closed, else that of its first upstream."""
    state = states.get(model["upstreams"][0], {}) if model["upstreams"] else {}
    names = (model["is_model"], model["name"])
    own = next((as_dict(state.get("models"))[name] for name in names if name in as_dict(state.get("models"))), None)
    shown = own or state
    return {name: shown[name] for name in ("state", "reason", "since_s", "next_probe_s") if name in shown}
