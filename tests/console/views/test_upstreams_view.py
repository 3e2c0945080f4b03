"""Whether upstreams are asked, and why not."""

from __future__ import annotations

from pathlib import Path

from argoproxy.console.views.totals import read_totals
from argoproxy.console.views.upstreams_view import read_states, show_upstreams
from argoproxy.errors import Ending
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import AttemptSummary
from argoproxy.telemetry.slots import make_folder
from tests.support.console_sources import make_sources
from tests.support.outcomes import outcome


def test_a_state_has_its_reason_in_words(tmp_path: Path) -> None:
    folder = make_folder([tmp_path])
    assert folder
    sources = make_sources(tmp_path, shared=folder)
    metrics = Metrics(folder)
    urls = sources.config.upstreams[0].target.urls
    state = UpstreamState("vllm", SharedMemory(folder, metrics.slot).of("vllm", urls))
    for model, kind in (("sk-0123456789abcdef", FailureKind.SERVER_ERROR), ("m1", FailureKind.CONNECT)):
        for _ in range(3):
            state.force(model).fail(kind)
    attempts = (AttemptSummary("vllm", "connect", 0.1), AttemptSummary("spare", "", 0.2))
    for one in (outcome(upstream="spare", attempts=attempts), outcome(upstream="spare", ending=Ending.UPSTREAM_ERROR)):
        metrics.count_start(one.route)
        metrics(one)
    view = show_upstreams(sources, read_states(sources), read_totals(folder))
    vllm, spare = view["upstreams"]
    assert (vllm["name"], vllm["is_default"], vllm["state"], vllm["reason_text"]) == (
        "vllm",
        True,
        "open",
        "no connection",
    )
    assert vllm["since_s"] is not None
    assert (vllm["attempts"], vllm["fallbacks"], spare["attempts"]) == ({"connect": 1}, 1, {"ok": 1})
    assert (spare["state"], spare["counts"]["requests"], spare["counts"]["errors"]) == ("closed", 2, 1)
    assert (spare["counts"]["tokens_in"], spare["counts"]["tokens_out"]) == (40, 10)
    assert "sk-0123456789abcdef" not in str(view)
    assert view["reason"] == ""


def test_without_a_shared_folder_the_reason_is_told(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    view = show_upstreams(sources, read_states(sources), read_totals(None))
    assert [one["state"] for one in view["upstreams"]] == ["closed", "closed"]
    assert (view["started_at"], bool(view["reason"])) == (None, True)


def test_a_folder_that_is_gone_has_no_counts(tmp_path: Path) -> None:
    assert read_totals(tmp_path).reason
