"""Metrics of each upstream: its attempts, which workers count, and its state, which they share and a scrape reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.resilience.breaker import CircuitState
from argoproxy.telemetry.children import counters
from argoproxy.telemetry.outcome import AttemptSummary

#: What `UpstreamState.describe` returns, by the upstream's name.
StatesByName = Mapping[str, Json]
NO_STATES: StatesByName = {}

_LABEL = "upstream"
_GAUGES = (
    ("open_streams", "argoproxy_upstream_open_streams", "Attempts at an upstream that are under way."),
    ("waiting", "argoproxy_upstream_waiting_requests", "Requests that wait for a place at an upstream."),
)
_ATTEMPTS = "argoproxy_upstream_attempts"
_RETRIES, _FALLBACKS = "argoproxy_upstream_retries", "argoproxy_upstream_fallbacks"


class AttemptMetrics:
    """Counts attempts in the worker's files."""

    def __init__(self) -> None:
        text = "Attempts at an upstream: ok, or the kind of failure."
        self._attempts = counters(_ATTEMPTS, text, (_LABEL, "result"))
        text = "Attempts at an upstream that followed a failure of the same one."
        self._retries = counters(_RETRIES, text, (_LABEL,))
        text = "Requests for which another upstream was asked after an upstream had failed."
        self._fallbacks = counters(_FALLBACKS, text, (_LABEL,))

    def count(self, attempts: Iterable[AttemptSummary]) -> None:
        """Count the attempts of one request, in their order."""
        before = ""
        for attempt in attempts:
            self._attempts[attempt.upstream, attempt.failure or "ok"].add(1)
            if before:
                (self._retries if attempt.upstream == before else self._fallbacks)[before,].add(1)
            before = attempt.upstream


def summarize_upstreams(states: StatesByName, metrics: Mapping[str, Metric]) -> StatesByName:
    """Return the states with the counts of all workers: attempts by their result, retries and fallbacks."""
    counted: dict[str, Json] = {name: {"attempts": {}, "retries": 0, "fallbacks": 0} for name in states}
    for name, key in ((_ATTEMPTS, "attempts"), (_RETRIES, "retries"), (_FALLBACKS, "fallbacks")):
        for sample in metrics[name].samples if name in metrics else ():
            # An upstream that earlier settings had is left out.
            counts = counted.get(sample.labels[_LABEL])
            if counts and key == "attempts":
                counts[key][sample.labels["result"]] = int(sample.value)
            elif counts:
                counts[key] = int(sample.value)
    return {name: {**state, **counted[name]} for name, state in states.items()}


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
