"""Metrics of all workers: a listener that counts outcomes, and what a scrape is told.

Each worker counts into files of its own slot, which nobody locks to write; a scrape adds all files up, in whichever
worker it is answered. A finished request costs up to twenty additions, an event none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Metric, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from argoproxy import __version__
from argoproxy.errors import Ending, MetricsUnavailable
from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.labels import Labeller, Labels, is_error, tokens
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.slots import Slots, uptime_s

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REQUEST_LABELS = Labels._fields
WAY_LABELS = ("route", "upstream")
TOKEN_LABELS = ("model", "upstream", "key", "type")
GEN_AI_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/chat": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}

#: Seconds and tokens as the semantic conventions of OpenTelemetry for generative AI say; durations go on to 11 minutes.
DURATION_BUCKETS = tuple(0.01 * 2**step for step in range(14))
LONG_BUCKETS = tuple(0.01 * 2**step for step in range(17))
OVERHEAD_BUCKETS = tuple(0.00025 * 2**step for step in range(12))
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
NEXT_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
TOKEN_BUCKETS = tuple(4**step for step in range(14))

MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


class Children(dict[tuple[str, ...], MetricT], Generic[MetricT]):
    """The children of a metric by their labels: looking one up here is faster than asking the metric."""

    def __init__(self, metric: MetricT) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> MetricT:
        child = self[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """A listener that counts outcomes into a slot of the folder."""

    def __init__(self, folder: Path) -> None:
        """Take a slot, and go on with what is counted in it. Raises OSError."""
        self._folder = folder
        self._slots = Slots(folder)
        slot = self._taken_slot()
        # Where the files are, and whose: prometheus_client is told in no other way.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
        self._labeller = Labeller()
        self._open = _gauges("argoproxy_requests_in_flight", "Requests that are being served.", ("route",))
        self._requests = _counters("argoproxy_requests", "Requests served.", REQUEST_LABELS)
        self._tokens = _counters("argoproxy_tokens", "Tokens, as upstreams count them.", TOKEN_LABELS)
        says = "From a request's arrival to the end of its answer."
        self._total = _histograms("argoproxy_request_duration_seconds", says, (*WAY_LABELS, "ending"), LONG_BUCKETS)
        says = "From a request's arrival to the first byte of its answer's body."
        self._first_byte = _histograms("argoproxy_time_to_first_byte_seconds", says, WAY_LABELS, LONG_BUCKETS)
        says = "Time to the first byte in which neither the client nor the upstream was waited for."
        self._overhead = _histograms("argoproxy_overhead_seconds", says, WAY_LABELS, OVERHEAD_BUCKETS)
        self._gen_ai = GenAi()
        self._go_on(folder / f"counter_{slot}.db")

    def begins(self, route: str) -> None:
        """Take note that a request came in, whose outcome will be told."""
        self._open[(route,)].inc()

    def __call__(self, outcome: Outcome) -> None:
        """Count an outcome; a request is in flight until it is counted."""
        try:
            self._count(outcome)
        finally:
            self._open[(outcome.route,)].dec()

    def text(self) -> bytes:
        """Tell what all workers counted, in Prometheus' text format 0.0.4."""
        return generate_latest(_Told(chain(self._told(), self._of_the_process())))

    def summary(self) -> Json:
        """Tell the sums, for people and scripts."""
        told = {metric.name: metric for metric in self._told()}
        requests, tokens = told.get("argoproxy_requests"), told.get("argoproxy_tokens")
        return {
            "version": __version__,
            "uptime_seconds": round(uptime_s(self._folder), 3),
            "in_flight": _sum(told.get("argoproxy_requests_in_flight")),
            "requests": {
                "total": _sum(requests),
                **{f"by_{label}": _sums(requests, label) for label in REQUEST_LABELS},
            },
            "tokens": {"input": 0, "output": 0, **_sums(tokens, "type")},
        }

    def _count(self, outcome: Outcome) -> None:
        labels = self._labeller.labels(outcome)
        self._requests[labels].inc()
        for kind, count in tokens(outcome):
            self._tokens[labels.model, labels.upstream, labels.key, kind].inc(count)
        self._time(outcome, labels)
        self._gen_ai.count(outcome, labels.model)

    def _time(self, outcome: Outcome, labels: Labels) -> None:
        way = (labels.route, labels.upstream)
        self._total[*way, labels.ending].observe(outcome.total_s)
        if outcome.first_byte_s is not None and outcome.overhead_s is not None:
            self._first_byte[way].observe(outcome.first_byte_s)
            self._overhead[way].observe(outcome.overhead_s)

    def _taken_slot(self) -> int:
        with self._slots.alone():
            slot = self._slots.take()
            (self._folder / _gauges_of(slot)).unlink(missing_ok=True)
        return slot

    def _go_on(self, counted: Path) -> None:
        """Take up what a worker before this one has counted by."""
        for metric in _merged([str(counted)] if _is_filled(counted) else []):
            for sample in metric.samples if metric.name == "argoproxy_requests" else ():
                labels = Labels(**sample.labels)
                self._labeller.goes_on_with(labels)
                self._requests[labels].inc(0)

    def _told(self) -> Iterable[Metric]:
        # In one order always: sums of fractions depend on it, and must not fall.
        return _merged(sorted(self._files()))

    def _files(self) -> list[str]:
        """Give the files of all workers; of those that are gone what they counted, but not what they had open."""
        try:
            return self._files_of_slots()
        except TimeoutError:
            raise MetricsUnavailable("The counts of the workers are locked by another process.") from None

    def _files_of_slots(self) -> list[str]:
        with self._slots.alone():
            left_open = {_gauges_of(slot) for slot in self._slots.idle()}
            files = self._folder.glob("*.db")
            return [str(file) for file in files if file.name not in left_open and _is_filled(file)]

    def _of_the_process(self) -> Iterator[Metric]:
        uptime = uptime_s(self._folder)
        yield GaugeMetricFamily("argoproxy_uptime_seconds", "Since the proxy was started.", value=uptime)
        build = GaugeMetricFamily("argoproxy_build_info", "Always 1; its label tells the version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build


class GenAi:
    """The same by the names of OpenTelemetry's conventions for generative AI, of requests that went to an upstream."""

    def __init__(self) -> None:
        by_type, by_error = (*GEN_AI_LABELS, "gen_ai_token_type"), (*GEN_AI_LABELS, "error_type")
        says = "Tokens of a request, as the upstream counts them."
        self._tokens = _histograms("gen_ai_client_token_usage", says, by_type, TOKEN_BUCKETS)
        says = "From a request's arrival to the end of its answer."
        self._total = _histograms("gen_ai_server_request_duration_seconds", says, by_error, DURATION_BUCKETS)
        says = "From a request's arrival to the first byte of its stream, complete ones only."
        self._first = _histograms("gen_ai_server_time_to_first_token_seconds", says, GEN_AI_LABELS, FIRST_TOKEN_BUCKETS)
        says = "Of a stream's tokens after the first one, complete ones only."
        self._next = _histograms("gen_ai_server_time_per_output_token_seconds", says, GEN_AI_LABELS, NEXT_TOKEN_BUCKETS)

    def count(self, outcome: Outcome, model: str) -> None:
        """Count an outcome, whose model has this label."""
        operation = OPERATIONS.get(outcome.route)
        if operation is None or not outcome.upstream:
            return
        labels = (operation, outcome.upstream, model)
        self._total[*labels, str(outcome.ending) if is_error(outcome) else ""].observe(outcome.total_s)
        for kind, count in tokens(outcome):
            self._tokens[*labels, kind].observe(count)
        if outcome.return_mode == "stream" and outcome.ending is Ending.COMPLETE:
            self._pace(outcome, labels)

    def _pace(self, outcome: Outcome, labels: tuple[str, ...]) -> None:
        if outcome.first_byte_s is None:
            return
        self._first[labels].observe(outcome.first_byte_s)
        later = (outcome.completion_tokens or 0) - 1
        if later > 0:
            self._next[labels].observe((outcome.total_s - outcome.first_byte_s) / later)


class _Told(Collector):
    """Metrics as they stand, in the shape in which they are written out."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _merged(files: Sequence[str]) -> Iterable[Metric]:
    metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return metrics


def _counters(name: str, says: str, labels: Sequence[str]) -> Children[Counter]:
    return Children(Counter(name, says, labels, registry=None))


def _gauges(name: str, says: str, labels: Sequence[str]) -> Children[Gauge]:
    return Children(Gauge(name, says, labels, registry=None, multiprocess_mode="livesum"))


def _histograms(name: str, says: str, labels: Sequence[str], buckets: Sequence[float]) -> Children[Histogram]:
    return Children(Histogram(name, says, labels, registry=None, buckets=buckets))


def _is_filled(file: Path) -> bool:
    """Whether a file is more than just made."""
    return file.exists() and file.stat().st_size > 0


def _gauges_of(slot: int) -> str:
    return f"gauge_livesum_{slot}.db"


def _sum(metric: Metric | None) -> int:
    return sum(int(sample.value) for sample in metric.samples) if metric else 0


def _sums(metric: Metric | None, label: str) -> dict[str, int]:
    """Give the sums by the values of a label, in their order."""
    sums: dict[str, int] = {}
    for sample in metric.samples if metric else ():
        sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + int(sample.value)
    return dict(sorted(sums.items()))
