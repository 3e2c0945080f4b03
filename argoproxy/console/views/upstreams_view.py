"""`/api/upstreams`: whether each upstream is asked, since when not and why, and what attempts came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, no_counts
from argoproxy.console.views.view_shapes import ShownCircuit, UpstreamRow, UpstreamsView
from argoproxy.protocol.access.masking import mask_urls
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.resilience.failures import FAILURES_IN_WORDS
from argoproxy.shared_state.state_observer import UNUSED, StateObserver

NOT_SHARED = "The workers share no folder, so each knows only what it has seen of an upstream itself."


def read_states(sources: Sources) -> Mapping[str, Json]:
    """Return the state of each upstream by its name, as the workers know it; none where they share nothing."""
    if sources.shared is None:
        return {}
    observer = StateObserver(sources.shared)
    return {one.name: observer.describe(one.name, one.target.urls) for one in sources.config.upstreams}


def show_upstreams(sources: Sources, states: Mapping[str, Json], totals: Totals) -> UpstreamsView:
    """Return the upstreams in the order of the settings."""
    rows = [_show_upstream(one, sources, states.get(one.name, UNUSED), totals) for one in sources.config.upstreams]
    for row in rows[:1]:
        row["is_default"] = True
    return {"upstreams": rows, "started_at": totals.started_at, "reason": "" if states else NOT_SHARED}


def _show_upstream(settings: UpstreamSettings, sources: Sources, state: Json, totals: Totals) -> UpstreamRow:
    reason, name = as_text(state.get("reason")), settings.name
    models = as_dict(state.get("models"))
    return {
        "name": name,
        "kind": settings.target.kind,
        "description": sources.mask(mask_urls(settings.target.description)),
        "url": sources.mask(mask_urls(settings.target.url)),
        "is_default": False,
        "state": as_text(state.get("state")),
        "reason": reason,
        "reason_text": FAILURES_IN_WORDS.get(reason, reason),
        "since_s": _number(state.get("since_s")),
        "next_probe_s": _number(state.get("next_probe_s")),
        "openings": int(state["openings"]),
        "open_streams": int(state["open_streams"]),
        "waiting": int(state["waiting"]),
        "max_concurrent": settings.resilience.max_concurrent or None,
        "models": [_show_circuit(sources.mask(model), as_dict(one)) for model, one in models.items()],
        "attempts": totals.attempts.get(name, {}),
        "retries": totals.retries.get(name, 0),
        "fallbacks": totals.fallbacks.get(name, 0),
        "counts": totals.by_upstream.get(name) or no_counts(),
    }


def _show_circuit(model: str, circuit: Json) -> ShownCircuit:
    return {
        "model": model,
        "state": as_text(circuit.get("state")),
        "reason": as_text(circuit.get("reason")),
        "since_s": _number(circuit.get("since_s")),
        "next_probe_s": _number(circuit.get("next_probe_s")),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
