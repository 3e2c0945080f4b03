"""The state of each upstream as metrics. It is read when it is scraped, not counted: the workers of a host share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.resilience.breaker import CircuitState

#: What `UpstreamState.describe` returns, by the upstream's name.
StatesByName = Mapping[str, Json]
NO_STATES: StatesByName = {}

_LABEL = "upstream"
_GAUGES = (
    ("open_streams", "argoproxy_upstream_open_streams", "Attempts at an upstream that are under way."),
    ("waiting", "argoproxy_upstream_waiting_requests", "Requests that wait for a place at an upstream."),
)


def upstream_families(states: StatesByName) -> Iterator[Metric]:
    """Yield the metrics of upstreams in these states."""
    if not states:
        return
    for key, name, text in _GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=[_LABEL])
        for upstream, state in states.items():
            gauge.add_metric([upstream], state[key])
        yield gauge
    yield _circuit_states(states)
    text = "Models of an upstream whose circuit is not closed."
    models = GaugeMetricFamily("argoproxy_upstream_open_models", text, labels=[_LABEL])
    text = "Circuits of an upstream, and of its models, that have opened."
    openings = CounterMetricFamily("argoproxy_upstream_circuit_openings", text, labels=[_LABEL])
    for upstream, state in states.items():
        models.add_metric([upstream], len(state["models"]))
        openings.add_metric([upstream], state["openings"])
    yield from (models, openings)


def _circuit_states(states: StatesByName) -> Metric:
    """Return a metric with a sample for each state that there is: 1 for that of the upstream, 0 for the others."""
    text = "1 for the state of an upstream's circuit, 0 for the other states."
    gauge = GaugeMetricFamily("argoproxy_upstream_circuit_state", text, labels=[_LABEL, "state"])
    for upstream, state in states.items():
        for name in CircuitState:
            gauge.add_metric([upstream, name], state["state"] == name)
    return gauge
