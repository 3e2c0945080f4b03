from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import Ending
from argoproxy.telemetry.labels import MAX_COMBINATIONS, MAX_NAMES, OTHER, BoundedNames, Labeller, Labels, token_counts
from tests.support.outcomes import outcome


def test_an_outcome_has_labels() -> None:
    labels = Labeller().labels(outcome(key="team"))
    assert labels == Labels("/v1/chat/completions", "m1", "openai", "team", "200", "complete")


def test_only_the_first_models_have_labels_of_their_own() -> None:
    labeller = Labeller()
    models = [labeller.labels(outcome(model=f"m{number}")).model for number in range(MAX_NAMES + 50)]
    assert models == [f"m{number}" for number in range(MAX_NAMES)] + [OTHER] * 50
    assert labeller.labels(outcome(model="m7")).model == "m7"
    assert labeller.labels(outcome(model="")).model == ""


@pytest.mark.parametrize(
    "failed",
    [
        {"status": 400, "ending": Ending.REFUSED, "upstream": ""},
        {"status": 404, "ending": Ending.UPSTREAM_ERROR},
        {"status": 200, "ending": Ending.UPSTREAM_ERROR},
        {"status": 502, "ending": Ending.UPSTREAM_BROKEN},
        {"status": 499, "ending": Ending.CLIENT_GONE},
        {"status": 200, "upstream": ""},
    ],
    ids=str,
)
def test_a_model_that_no_upstream_accepted_has_no_label_of_its_own(failed: dict[str, Any]) -> None:
    labeller = Labeller()
    for number in range(MAX_NAMES + 1):
        assert labeller.labels(outcome(model=f"bad{number}", **failed)).model == OTHER
    assert labeller.labels(outcome()).model == "m1"
    assert labeller.labels(outcome(**failed)).model == "m1", "by now it is known"


def test_a_model_of_the_settings_has_a_label_of_its_own_even_if_all_its_requests_fail() -> None:
    labeller = Labeller()
    labeller.expect_models(["m1", "m2"])
    failed = {"status": 500, "ending": Ending.UPSTREAM_ERROR}
    assert [labeller.labels(outcome(model=name, **failed)).model for name in ("m1", "m3")] == ["m1", OTHER]
    for number in range(MAX_NAMES):
        labeller.labels(outcome(model=f"first{number}"))
    assert labeller.labels(outcome(model="m2", **failed)).model == OTHER


def test_a_model_whose_client_left_in_the_stream_has_a_label_of_its_own() -> None:
    assert Labeller().labels(outcome(ending=Ending.CLIENT_GONE)).model == "m1"


def test_a_long_or_broken_name_makes_a_label_all_the_same() -> None:
    labels = Labeller().labels(outcome(model="\ud800" + "x" * 1000))
    assert labels.model == "?" + "x" * 99


def test_the_labels_of_an_earlier_worker_count() -> None:
    labeller = Labeller()
    for number in range(MAX_NAMES):
        labeller.restore(Labels("/x", f"old{number}", "openai", "", "200", "complete"))
    assert labeller.labels(outcome()).model == OTHER
    assert labeller.labels(outcome(model="old3")).model == "old3"


def test_combinations_are_bounded() -> None:
    labeller = Labeller()
    for number in range(MAX_COMBINATIONS):
        labeller.restore(Labels(f"/{number}", "m1", "openai", "k", "200", "complete"))
    assert labeller.labels(outcome(key="k"))[:4] == ("/v1/chat/completions", OTHER, "openai", OTHER)
    assert labeller.labels(outcome(key="k", route="/7")).model == "m1"


def test_the_label_other_needs_no_room() -> None:
    names = BoundedNames(1)
    assert [names.add(name) for name in ("other", "a", "b", "other")] == ["other", "a", "other", "other"]


@pytest.mark.parametrize("count", [None, 0, -5, 10**400])
def test_what_is_no_count_of_tokens_is_left_out(count: int | None) -> None:
    assert list(token_counts(outcome(prompt_tokens=count))) == [("output", 5)]
