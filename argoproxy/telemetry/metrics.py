"""Metrics of all workers: a listener that counts outcomes, and the text of a scrape.

Each worker counts in memory-mapped files of its own slot, without a lock; the worker that answers a scrape adds up the
files of all. A request costs up to twenty additions, an event none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from types import MappingProxyType

from prometheus_client import Metric, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from argoproxy import __version__
from argoproxy.errors import Ending
from argoproxy.protocol.cache.cache_headers import CacheResult
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.money import to_number
from argoproxy.telemetry.cache_metrics import CacheMetrics
from argoproxy.telemetry.children import counters, gauges, histograms
from argoproxy.telemetry.labels import Labeller, Labels, is_error, token_counts
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.slots import Slots, uptime_s
from argoproxy.telemetry.upstream_metrics import (
    NO_STATES,
    AttemptMetrics,
    StatesByName,
    summarize_upstreams,
    upstream_families,
)
from argoproxy.telemetry.worker_counts import WorkerCounts, gauge_file, has_content, merge_files, sum_of, sums_by

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REQUEST_LABELS = Labels._fields
ROUTE_LABELS = ("route", "upstream")
COST_LABELS = ("model", "upstream", "key")
NO_STORES: Mapping[str, bool] = MappingProxyType({})
TOKEN_LABELS = ("model", "upstream", "key", "type")
GEN_AI_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/chat": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}

#: Buckets in seconds and tokens, by OpenTelemetry's semantic conventions for generative AI; LONG_BUCKETS go on to 11
#: minutes.
DURATION_BUCKETS = tuple(0.01 * 2**step for step in range(14))
LONG_BUCKETS = tuple(0.01 * 2**step for step in range(17))
OVERHEAD_BUCKETS = tuple(0.00025 * 2**step for step in range(12))
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
NEXT_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
TOKEN_BUCKETS = tuple(4**step for step in range(14))


class Metrics:
    """A listener that counts outcomes in a slot of the folder."""

    def __init__(self, folder: Path) -> None:
        """Take a slot, and continue the counts in it. Raises OSError."""
        self._folder = folder
        self._slots, self._workers = Slots(folder), WorkerCounts(folder)
        #: The slot of this process, which it keeps until it ends.
        self.slot = slot = self._take_slot()
        # prometheus_client has no other way to set the folder, and the "process id" by which it names its files.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
        self._labeller = Labeller()
        #: Held while numbers are added to, and while a metric gets a new child.
        self._lock = Lock()
        self._open = gauges("argoproxy_requests_in_flight", "Requests that are being served.", ("route",))
        self._requests = counters("argoproxy_requests", "Requests served.", REQUEST_LABELS)
        self._tokens = counters("argoproxy_tokens", "Tokens, as upstreams count them.", TOKEN_LABELS)
        text = "From a request's arrival to the end of its answer."
        self._total = histograms("argoproxy_request_duration_seconds", text, (*ROUTE_LABELS, "ending"), LONG_BUCKETS)
        text = "From a request's arrival to the first byte of its answer's body."
        self._first_byte = histograms("argoproxy_time_to_first_byte_seconds", text, ROUTE_LABELS, LONG_BUCKETS)
        text = "Time to the first byte in which neither the client nor the upstream was waited for."
        self._overhead = histograms("argoproxy_overhead_seconds", text, ROUTE_LABELS, OVERHEAD_BUCKETS)
        text = "For a place at an upstream that serves as many requests as it may; of requests that waited."
        self._queue = histograms("argoproxy_queue_wait_seconds", text, ROUTE_LABELS, DURATION_BUCKETS)
        text = "What requests cost, in the currency of the prices; those without a known cost are counted beside."
        self._cost = counters("argoproxy_cost", text, COST_LABELS)
        self._unpriced = counters("argoproxy_unpriced_requests", "Requests whose cost is not known.", COST_LABELS)
        text = "Requests that a limit refused: which kind of limit, and whose."
        self._refusals = counters("argoproxy_limit_refusals", text, ("kind", "subject"))
        self._spans = counters("argoproxy_spans", "Spans of traces: sent, or dropped.", ("result",))
        text = "Entries of the ledger that were lost before the database had them, and why."
        self._dropped = counters("argoproxy_ledger_entries_dropped", text, ("reason",))
        self._gen_ai = GenAiMetrics()
        self._attempts = AttemptMetrics()
        self._cache = CacheMetrics()
        self._restore_labels(folder / f"counter_{slot}.db")

    def expect_models(self, names: Iterable[str]) -> None:
        """Count these models by their names also if all their requests fail."""
        self._labeller.expect_models(names)

    def count_start(self, route: str) -> None:
        """Count a request as open. Its outcome must follow."""
        with self._lock:
            self._open[(route,)].add(1)

    def __call__(self, outcome: Outcome) -> None:
        """Count an outcome; the request is open until it is counted."""
        with self._lock:
            try:
                self._count(outcome)
            finally:
                self._open[(outcome.route,)].add(-1)

    def count_spans(self, result: str, spans: int) -> None:
        """Count spans that were `sent` or `dropped`."""
        with self._lock:
            self._spans[(result,)].add(spans)

    def count_dropped_entries(self, reason: str, entries: int) -> None:
        """Count entries of the ledger that were lost; a reason is exported from its first call on, be it with 0."""
        with self._lock:
            self._dropped[(reason,)].add(entries)

    def to_text(self, states: StatesByName = NO_STATES, stores: Mapping[str, bool] = NO_STORES) -> bytes:
        """Return the counts of all workers, the states of upstreams, and whether stores can be used, by their names, in
        Prometheus' text format 0.0.4."""
        own = chain(store_families(stores), self._process_metrics())
        families = chain(self._workers.merge(), upstream_families(states), own)
        return generate_latest(_Collected(families))

    def summary(self, states: StatesByName = NO_STATES) -> Json:
        """Return the sums and the states of upstreams as JSON, for people and scripts."""
        metrics = {metric.name: metric for metric in self._workers.merge()}
        requests, tokens = metrics.get("argoproxy_requests"), metrics.get("argoproxy_tokens")
        return {
            "version": __version__,
            "uptime_seconds": round(uptime_s(self._folder), 3),
            "in_flight": sum_of(metrics.get("argoproxy_requests_in_flight")),
            "requests": {
                "total": sum_of(requests),
                **{f"by_{label}": sums_by(requests, label) for label in REQUEST_LABELS},
            },
            "tokens": {"input": 0, "output": 0, **sums_by(tokens, "type")},
            "upstreams": summarize_upstreams(states, metrics),
        }

    def _count(self, outcome: Outcome) -> None:
        labels = self._labeller.labels(outcome)
        tokens = token_counts(outcome) if outcome.cache != CacheResult.HIT else ()
        self._requests[labels].add(1)
        for kind, count in tokens:
            self._tokens[labels.model, labels.upstream, labels.key, kind].add(count)
        self._count_cost(outcome, labels)
        if outcome.limit:
            subject, _, kind = outcome.limit.rpartition(".")
            self._refusals[kind, subject].add(1)
        self._observe_times(outcome, labels)
        self._gen_ai.count(outcome, labels.model, tokens)
        self._attempts.count(outcome.attempts)
        self._cache.count(outcome, labels.model)

    def _count_cost(self, outcome: Outcome, labels: Labels) -> None:
        if outcome.cost_nanos is not None:
            self._cost[labels.model, labels.upstream, labels.key].add(to_number(outcome.cost_nanos))
        elif outcome.unpriced:
            self._unpriced[labels.model, labels.upstream, labels.key].add(1)

    def _observe_times(self, outcome: Outcome, labels: Labels) -> None:
        route = (labels.route, labels.upstream)
        self._total[*route, labels.ending].observe(outcome.total_s)
        if outcome.first_byte_s is not None and outcome.overhead_s is not None:
            self._first_byte[route].observe(outcome.first_byte_s)
            self._overhead[route].observe(outcome.overhead_s)
        if outcome.queue_s is not None:
            self._queue[route].observe(outcome.queue_s)

    def _take_slot(self) -> int:
        with self._slots.exclusive():
            slot = self._slots.take()
            # The requests that were open in the worker before this one are not open any more.
            (self._folder / gauge_file(slot)).unlink(missing_ok=True)
        return slot

    def _restore_labels(self, counters: Path) -> None:
        """Take over the labels by which the worker before this one has counted."""
        for metric in merge_files([str(counters)] if has_content(counters) else []):
            for sample in metric.samples if metric.name == "argoproxy_requests" else ():
                labels = Labels(**sample.labels)
                self._labeller.restore(labels)
                self._requests[labels].add(0)

    def _process_metrics(self) -> Iterator[Metric]:
        uptime = uptime_s(self._folder)
        yield GaugeMetricFamily("argoproxy_uptime_seconds", "Since the proxy was started.", value=uptime)
        build = GaugeMetricFamily("argoproxy_build_info", "Always 1; its label tells the version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build


def store_families(stores: Mapping[str, bool]) -> Iterator[Metric]:
    """Yield whether stores can be used, as this worker knows it."""
    if stores:
        text = "1 if what is kept for all workers can be used, 0 if it can't."
        family = GaugeMetricFamily("argoproxy_store_up", text, labels=["store"])
        for name, is_up in stores.items():
            family.add_metric([name], float(is_up))
        yield family


class GenAiMetrics:
    """Metrics under the names of OpenTelemetry's conventions for generative AI, of requests that went upstream."""

    def __init__(self) -> None:
        by_type, by_error = (*GEN_AI_LABELS, "gen_ai_token_type"), (*GEN_AI_LABELS, "error_type")
        text = "Tokens of a request, as the upstream counts them."
        self._tokens = histograms("gen_ai_client_token_usage", text, by_type, TOKEN_BUCKETS)
        text = "From a request's arrival to the end of its answer."
        self._total = histograms("gen_ai_server_request_duration_seconds", text, by_error, DURATION_BUCKETS)
        text = "From a request's arrival to the first byte of its stream, complete ones only."
        self._first = histograms("gen_ai_server_time_to_first_token_seconds", text, GEN_AI_LABELS, FIRST_TOKEN_BUCKETS)
        text = "Of a stream's tokens after the first one, complete ones only."
        self._next = histograms("gen_ai_server_time_per_output_token_seconds", text, GEN_AI_LABELS, NEXT_TOKEN_BUCKETS)

    def count(self, outcome: Outcome, model: str, tokens: Sequence[tuple[str, int]]) -> None:
        """Count an outcome; `model` is the label of its model, `tokens` its counts by type."""
        operation = OPERATIONS.get(outcome.route)
        if operation is None or not outcome.upstream:
            return
        labels = (operation, outcome.upstream, model)
        self._total[*labels, str(outcome.ending) if is_error(outcome) else ""].observe(outcome.total_s)
        for kind, count in tokens:
            self._tokens[*labels, kind].observe(count)
        if outcome.return_mode == "stream" and outcome.ending is Ending.COMPLETE:
            self._observe_pace(outcome, labels)

    def _observe_pace(self, outcome: Outcome, labels: tuple[str, ...]) -> None:
        if outcome.first_byte_s is None:
            return
        self._first[labels].observe(outcome.first_byte_s)
        later = (outcome.completion_tokens or 0) - 1
        if later > 0:
            self._next[labels].observe((outcome.total_s - outcome.first_byte_s) / later)


class _Collected(Collector):
    """Metrics that are collected already: `generate_latest` takes a Collector only."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
