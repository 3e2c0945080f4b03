from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from argoproxy import __version__
from argoproxy.errors import Ending
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import AttemptSummary
from argoproxy.telemetry.slots import make_folder
from tests.support.outcomes import outcome
from tests.support.processes import ROOT

CHAT = {"route": "/v1/chat/completions", "upstream": "openai"}
EARLIER_WORKER = """
import os, signal, sys
from pathlib import Path
from argoproxy.telemetry.metrics import Metrics
from tests.support.outcomes import outcome
metrics = Metrics(Path(sys.argv[1]))
for one in (outcome(), outcome(status=400), outcome(key="team")):
    metrics.count_start(one.route)
    metrics(one)
metrics.count_start("/v1/models")
os.kill(os.getpid(), signal.SIGKILL)
"""
COUNTING_WORKER = """
import sys
from pathlib import Path
from argoproxy.telemetry.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
metrics.count_spans("sent", 1)
print("counting", flush=True)
for _ in range(300_000):
    metrics.count_spans("sent", 1)
"""
GEN_AI = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "m1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = make_folder([tmp_path])
    assert folder
    return folder


@pytest.fixture
def metrics(folder: Path) -> Metrics:
    return Metrics(folder)


def tell(metrics: Metrics, times: int = 1, **changed: Any) -> None:
    for _ in range(times):
        one = outcome(**changed)
        metrics.count_start(one.route)
        metrics(one)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Give what a scrape tells of a name and labels."""
    families = text_string_to_metric_families(metrics.to_text().decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return next((sample.value for sample in samples if sample.labels == labels), None)


def test_requests_are_counted_by_their_labels(metrics: Metrics) -> None:
    tell(metrics, 3)
    tell(metrics, 2, ending=Ending.CLIENT_GONE, key="team")
    labels = {**CHAT, "model": "m1", "status": "200"}
    assert value(metrics, "argoproxy_requests_total", **labels, key="", ending="complete") == 3
    assert value(metrics, "argoproxy_requests_total", **labels, key="team", ending="client_gone") == 2


def test_times_are_in_seconds(metrics: Metrics) -> None:
    tell(metrics)
    ended = {**CHAT, "ending": "complete"}
    assert value(metrics, "argoproxy_request_duration_seconds_sum", **ended) == 2.3
    assert value(metrics, "argoproxy_request_duration_seconds_bucket", **ended, le="1.28") == 0
    assert value(metrics, "argoproxy_request_duration_seconds_bucket", **ended, le="2.56") == 1
    assert value(metrics, "argoproxy_time_to_first_byte_seconds_sum", **CHAT) == 0.3
    assert value(metrics, "argoproxy_overhead_seconds_sum", **CHAT) == 0.001
    assert value(metrics, "gen_ai_server_request_duration_seconds_sum", **GEN_AI, error_type="") == 2.3


def test_what_sent_no_byte_has_no_first_one(metrics: Metrics) -> None:
    tell(metrics, first_byte_s=None, overhead_s=None, return_mode="stream")
    assert b"first_byte" not in metrics.to_text()
    assert b"overhead" not in metrics.to_text()
    assert b"first_token" not in metrics.to_text()


def test_tokens_are_counted_by_type(metrics: Metrics) -> None:
    tell(metrics, 2, key="team")
    labels = {"model": "m1", "upstream": "openai", "key": "team"}
    assert value(metrics, "argoproxy_tokens_total", **labels, type="input") == 40
    assert value(metrics, "argoproxy_tokens_total", **labels, type="output") == 10
    assert value(metrics, "gen_ai_client_token_usage_sum", **GEN_AI, gen_ai_token_type="input") == 40
    assert value(metrics, "gen_ai_client_token_usage_count", **GEN_AI, gen_ai_token_type="output") == 2


def test_costs_are_summed_and_unknown_ones_counted(metrics: Metrics) -> None:
    labels = {"model": "m1", "upstream": "openai", "key": "team"}
    tell(metrics, key="team")
    assert b"argoproxy_cost" not in metrics.to_text()
    tell(metrics, 2, key="team", cost_nanos=12_500_000)
    tell(metrics, 3, key="team", unpriced="usage")
    assert value(metrics, "argoproxy_cost_total", **labels) == 0.025
    assert value(metrics, "argoproxy_unpriced_requests_total", **labels) == 3


def test_the_pace_of_streams_is_observed(metrics: Metrics) -> None:
    tell(metrics)
    assert b"time_to_first_token" not in metrics.to_text()
    tell(metrics, return_mode="stream", ending=Ending.CLIENT_GONE)
    assert b"time_to_first_token" not in metrics.to_text()
    tell(metrics, return_mode="stream")
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_sum", **GEN_AI) == 0.3
    assert value(metrics, "gen_ai_server_time_per_output_token_seconds_sum", **GEN_AI) == pytest.approx(0.5)
    tell(metrics, return_mode="stream", completion_tokens=None)
    assert value(metrics, "gen_ai_server_time_per_output_token_seconds_count", **GEN_AI) == 1


def test_an_error_is_named_and_a_client_that_leaves_is_no_error(metrics: Metrics) -> None:
    tell(metrics)
    tell(metrics, status=504, ending=Ending.UPSTREAM_TIMEOUT)
    tell(metrics, status=200, ending=Ending.CLIENT_GONE)
    name = "gen_ai_server_request_duration_seconds_count"
    assert value(metrics, name, **GEN_AI, error_type="upstream_timeout") == 1
    assert value(metrics, name, **GEN_AI, error_type="") == 2


@pytest.mark.parametrize("changed", [{"route": "/{path}"}, {"upstream": ""}], ids=str)
def test_what_is_no_model_at_work_has_no_such_names(metrics: Metrics, changed: dict[str, Any]) -> None:
    tell(metrics, **changed)
    assert b"gen_ai" not in metrics.to_text()


def test_open_requests_are_counted(metrics: Metrics) -> None:
    metrics.count_start("/v1/chat/completions")
    metrics.count_start("/v1/chat/completions")
    metrics(outcome())
    assert value(metrics, "argoproxy_requests_in_flight", route="/v1/chat/completions") == 1
    assert metrics.summary()["in_flight"] == 1


def test_uptime_and_version_are_exported(metrics: Metrics) -> None:
    assert 0 < (value(metrics, "argoproxy_uptime_seconds") or 0) < 5
    assert value(metrics, "argoproxy_build_info", version=__version__) == 1


def test_the_summary(metrics: Metrics) -> None:
    summary = metrics.summary()
    assert (summary["requests"]["total"], summary["tokens"]) == (0, {"input": 0, "output": 0})
    tell(metrics, 2)
    tell(metrics, status=400, ending=Ending.REFUSED, upstream="", prompt_tokens=None, completion_tokens=None)
    summary = metrics.summary()
    assert 0 < summary.pop("uptime_seconds") < 5
    assert summary == {
        "version": __version__,
        "in_flight": 0,
        "requests": {
            "total": 3,
            "by_route": {"/v1/chat/completions": 3},
            "by_model": {"m1": 3},
            "by_upstream": {"": 1, "openai": 2},
            "by_key": {"": 3},
            "by_status": {"200": 2, "400": 1},
            "by_ending": {"complete": 2, "refused": 1},
        },
        "tokens": {"input": 40, "output": 10},
        "upstreams": {},
    }


STATES = {
    "one": {"state": "closed", "open_streams": 3, "waiting": 0, "openings": 2, "models": {"m1": {"state": "open"}}},
    'a"b': {"state": "half_open", "open_streams": 0, "waiting": 4, "openings": 1, "models": {}},
}


def test_the_states_of_upstreams_are_exported(metrics: Metrics) -> None:
    families = text_string_to_metric_families(metrics.to_text(STATES).decode())
    found = {
        (sample.name.removeprefix("argoproxy_upstream_"), sample.labels["upstream"]): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("state", "half_open") == "half_open" and "upstream" in sample.labels
    }
    assert (found["open_streams", "one"], found["waiting_requests", 'a"b']) == (3, 4)
    assert (found["open_models", "one"], found["open_models", 'a"b']) == (1, 0)
    assert (found["circuit_openings_total", "one"], found["circuit_openings_total", 'a"b']) == (2, 1)
    assert (found["circuit_state", "one"], found["circuit_state", 'a"b']) == (0, 1)


def test_an_upstream_is_in_one_state(metrics: Metrics) -> None:
    families = text_string_to_metric_families(metrics.to_text(STATES).decode())
    (family,) = (family for family in families if family.name == "argoproxy_upstream_circuit_state")
    found = {one.labels["state"]: one.value for one in family.samples if one.labels["upstream"] == "one"}
    assert found == {"closed": 1, "open": 0, "half_open": 0, "cooling": 0}


def test_the_number_of_samples_does_not_depend_on_models(metrics: Metrics) -> None:
    def count(models: int) -> int:
        names = {f"m{number}": {"state": "open"} for number in range(models)}
        return metrics.to_text({"one": {**STATES["one"], "models": names}}).count(b"\n")

    assert count(1) == count(40)


def test_the_summary_has_the_states_as_they_are(metrics: Metrics) -> None:
    counts = {"attempts": {}, "retries": 0, "fallbacks": 0}
    assert metrics.summary(STATES)["upstreams"] == {name: {**state, **counts} for name, state in STATES.items()}


def attempts(*texts: str) -> tuple[AttemptSummary, ...]:
    """Return attempts of `upstream:failure`."""
    pairs = (text.partition(":") for text in texts)
    return tuple(AttemptSummary(upstream, failure, 0.1) for upstream, _, failure in pairs)


def test_attempts_are_counted_by_their_result(metrics: Metrics) -> None:
    tell(metrics, 2, attempts=attempts("one:"))
    tell(metrics, attempts=attempts("one:connect", "one:timeout", "two:"))
    tell(metrics, attempts=attempts("one:rate_limited"))
    tell(metrics, upstream="", attempts=())
    name = "argoproxy_upstream_attempts_total"
    results = ("ok", "connect", "timeout", "rate_limited")
    assert [value(metrics, name, upstream="one", result=result) for result in results] == [2, 1, 1, 1]
    assert value(metrics, name, upstream="two", result="ok") == 1
    assert value(metrics, "argoproxy_upstream_retries_total", upstream="one") == 1
    assert value(metrics, "argoproxy_upstream_fallbacks_total", upstream="one") == 1
    shown = metrics.summary(STATES)["upstreams"]["one"]
    assert shown["attempts"] == {"ok": 2, "connect": 1, "timeout": 1, "rate_limited": 1}
    assert (shown["retries"], shown["fallbacks"]) == (1, 1)
    assert "two" not in metrics.summary(STATES)["upstreams"]


def test_no_name_can_break_a_scrape(metrics: Metrics) -> None:
    tell(metrics, model='a"b\\c\n\ud800{}')
    labels = {**CHAT, "model": 'a"b\\c\\n?{}', "status": "200", "key": "", "ending": "complete"}
    assert value(metrics, "argoproxy_requests_total", **labels) == 1


def test_two_workers_are_added_up(folder: Path, metrics: Metrics) -> None:
    tell(metrics, 2)
    other = Metrics(folder)
    tell(other, 3)
    assert metrics.summary()["requests"]["total"] == other.summary()["requests"]["total"] == 5
    assert len(list(folder.glob("counter_*.db"))) == 2


def test_a_killed_workers_counts_are_kept_and_gone_on_with(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", EARLIER_WORKER, folder], cwd=ROOT, check=False)
    files = sorted(file.name for file in folder.iterdir())
    metrics = Metrics(folder)
    assert metrics.summary()["requests"]["total"] == 3
    assert metrics.summary()["in_flight"] == 0, "nobody serves what it had open"
    tell(metrics)
    assert metrics.summary()["requests"]["by_key"] == {"": 3, "team": 1}
    assert sorted(file.name for file in folder.iterdir()) == files


def test_a_counter_never_falls_while_it_is_added_to(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COUNTING_WORKER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"counting\n"
        file = MmapedDict(folder / "counter_0.db")  # type: ignore[no-untyped-call]
        (key,) = (key for key, _, _ in file.read_all_values() if "argoproxy_spans" in key)  # type: ignore[no-untyped-call]
        before, falls = 0.0, 0
        while worker.poll() is None:
            for _ in range(1000):
                now, _ = file.read_value(key)  # type: ignore[no-untyped-call]
                falls += now < before
                before = now
        file.close()  # type: ignore[no-untyped-call]
    assert worker.returncode == 0
    assert before == 300_001
    assert falls == 0


def test_open_requests_of_a_dead_worker_are_not_counted(folder: Path, metrics: Metrics) -> None:
    subprocess.run([sys.executable, "-c", EARLIER_WORKER, folder], cwd=ROOT, check=False)
    assert metrics.summary()["requests"]["total"] == 3
    assert metrics.summary()["in_flight"] == 0


def test_an_empty_file_is_left_out(folder: Path, metrics: Metrics) -> None:
    tell(metrics)
    (folder / "counter_7.db").touch()
    assert metrics.summary()["requests"]["total"] == 1
