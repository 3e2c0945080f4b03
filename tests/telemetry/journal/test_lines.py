from __future__ import annotations

import random

import pytest

from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.journal.lines import MAX_MODELS, OTHER, Latencies, Statistics, read_line
from tests.support.journals import client_line


def statistics_of(*lines: Json) -> Statistics:
    return Statistics(map(read_line, lines))


def test_endings_tokens_and_times_are_counted_per_model_and_together() -> None:
    lines = [
        *(client_line("1", total_ms=total, first_byte_ms=total / 10) for total in (300, 100, 200)),
        client_line("2", ending="client_gone", total_ms=9999, output={"choices": []}),
        client_line("3", ending="upstream_timeout", total_ms=9999, output={"error": {"message": "late"}}),
        client_line("4", model="b", output={"bytes": 5}, usage={"input_tokens": 7, "output_tokens": 1}, total_ms=None),
        client_line("5", model="", ending="refused", output=None),
    ]
    document = statistics_of(*lines).document()
    assert document["models"]["gpt-4o"] == {
        "requests": 5,
        "errors": 1,
        "client_gone": 1,
        "prompt_tokens": 45,
        "completion_tokens": 96,
        "total_ms": {"p50": 200, "p90": 300, "p99": 300},
        "first_byte_ms": {"p50": 20, "p90": 30, "p99": 30},
    }
    assert list(document["models"]) == ["gpt-4o", "", "b"]
    assert document["models"]["b"]["total_ms"] == {"p50": None, "p90": None, "p99": None}
    total = document["total"]
    assert [total[name] for name in ("requests", "errors", "client_gone")] == [7, 2, 1]
    assert [total[name] for name in ("prompt_tokens", "completion_tokens")] == [52, 97]


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_percentiles_are_those_of_all_times_to_three_digits(percent: int) -> None:
    times = [random.Random(percent).lognormvariate(6, 2) for _ in range(5000)]
    latencies = Latencies()
    for time in times:
        latencies.add(time)
    exact = sorted(times)[5000 * percent // 100 - 1]
    assert latencies.percentile(percent) == float(f"{exact:.3g}")


def test_further_models_are_counted_together() -> None:
    lines = (client_line("1", model=str(number)) for number in range(MAX_MODELS + 5))
    models = statistics_of(*lines).document()["models"]
    assert len(models) == MAX_MODELS + 1
    assert models[OTHER]["requests"] == 5


@pytest.mark.parametrize("odd", [True, -1, "5", [5], None, float("inf"), float("nan")])
def test_a_field_of_another_type_is_not_there(odd: object) -> None:
    line = client_line("1", total_ms=odd, model=odd if odd != "5" else 5, output={"usage": {"prompt_tokens": odd}})
    exchange = read_line(line)
    assert (exchange.total_ms, exchange.model, exchange.prompt_tokens) == (None, "", None)
    assert read_line({"output": {"usage": odd}, "usage": odd}).completion_tokens is None
