"""Reads the metrics of a running proxy."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import ask
from tests.support.processes import Proxy

Counts = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(proxy: Proxy) -> Counts:
    """Give every sample of a scrape."""
    families = text_string_to_metric_families(ask(proxy.port, "GET", "/metrics").body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def summary(proxy: Proxy) -> dict[str, Any]:
    found: dict[str, Any] = ask(proxy.port, "GET", "/metrics", Accept="application/json").json
    return found


def total(counts: Counts, name: str, **labels: str) -> float:
    """Add up the samples of a name that have these labels."""
    return sum(
        value for (given, having), value in counts.items() if given == name and frozenset(labels.items()) <= having
    )
