"""A minute of the fuzzer, the cases it found before, and the faults that it must notice."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.fuzz.case import Case
from tests.fuzz.cases import CASES
from tests.fuzz.harness import Harness
from tests.fuzz.run import case_of, run
from tests.fuzz.selfcheck import cases_until_noticed
from tests.support.processes import PATIENCE_S

SEED = 16
NUMBERS = range(400)
#: The cases that a kind of worker gets: each case meets one of them; LAB=full has both meet all.
SHARES = {"gthread": NUMBERS[::2], "gevent": NUMBERS[1::2]}


@pytest.fixture(params=["gthread", "gevent"], scope="module")
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    running = Harness(tmp_path_factory.mktemp("fuzz"), request.param, patience_s=PATIENCE_S)
    yield running
    running.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_found_before(harness: Harness, case: Case) -> None:
    assert harness.run(case) + harness.count() == []


def test_no_invariant_breaks(harness: Harness) -> None:
    is_full = os.environ.get("LAB") == "full"
    summary = run(harness, SEED, NUMBERS if is_full else SHARES[harness.worker_class])
    assert summary.violations == []
    assert {"complete", "refused", "upstream_broken", "upstream_error", "client_gone"} <= summary.endings.keys()


def test_a_case_is_the_same_each_time() -> None:
    assert [case_of(SEED, number) for number in NUMBERS] == [case_of(SEED, number) for number in NUMBERS]


def test_a_fault_of_each_kind_is_noticed(tmp_path_factory: pytest.TempPathFactory) -> None:
    noticed = dict(cases_until_noticed(tmp_path_factory.mktemp("planted"), "gthread", SEED))
    assert [fault for fault, number in noticed.items() if number is None] == []
