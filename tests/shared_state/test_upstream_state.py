"""The state of an upstream as the pipeline sees it, by a clock that the test sets. Each memory stands for a worker."""

from __future__ import annotations

import errno
import logging
import os
import resource
import threading
from pathlib import Path

import pytest

from argoproxy.protocol.resilience.breaker import BreakerSettings, Sign
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.cells import CELLS, KEEP_CELL_S
from argoproxy.shared_state.mapped_file import MAX_SLOTS
from argoproxy.shared_state.rows import Rows
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import DEFAULT_BREAKER, MAX_TOKENS, UpstreamState
from argoproxy.telemetry.slots import Slots

ERROR, CONNECT = FailureKind.SERVER_ERROR, FailureKind.CONNECT


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def worker(folder: Path, clock: Clock) -> SharedMemory:
    slots = Slots(folder)
    with slots.exclusive():
        return SharedMemory(folder, slots.take(), clock)


def state_in(memory: SharedMemory, settings: BreakerSettings = DEFAULT_BREAKER) -> UpstreamState:
    return UpstreamState("up", memory.of("up", ["http://up"]), settings)


@pytest.fixture
def state(folder: Path, clock: Clock) -> UpstreamState:
    return state_in(worker(folder, clock))


def fail(state: UpstreamState, model: str = "m", kind: FailureKind = ERROR, retry_after_s: float | None = None) -> None:
    attempt = state.force(model)
    attempt.fail(kind, retry_after_s)
    attempt.close()


def succeed(state: UpstreamState, model: str = "m") -> None:
    attempt = state.force(model)
    attempt.succeed()
    attempt.close()


def open_circuit(state: UpstreamState, model: str = "m", kind: FailureKind = ERROR) -> None:
    for _ in range(3):
        fail(state, model, kind)


def is_asked(state: UpstreamState, model: str = "m") -> bool:
    """Tell whether a request would be sent; its client leaves at once."""
    attempt = state.begin(model)
    if attempt:
        attempt.close()
    return attempt is not None


def test_an_attempt_counts_until_it_is_closed_and_only_once(state: UpstreamState) -> None:
    first, second = state.begin("m"), state.begin("m")
    assert first
    assert second
    assert state.open_streams() == 2
    first.succeed()
    first.close()
    first.close()
    first.fail(ERROR)
    assert state.open_streams() == 1
    second.close()
    assert state.open_streams() == 0


def test_threads_count_exactly(state: UpstreamState) -> None:
    def work() -> None:
        for number in range(500):
            attempt = state.force("m")
            if number % 100 == 0:
                attempt.fail(ERROR)
            attempt.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.open_streams() == 0
    assert not state.take_retry()


class _AddsInside(int):
    """A number that adds to a row while it is being added: as the garbage collector does, which runs anywhere."""

    def __radd__(self, other: int) -> int:
        rows = self.rows
        rows.add(0, 1)
        return other + int(self)

    rows: Rows


def test_an_attempt_that_ends_within_a_change_is_counted(folder: Path, clock: Clock) -> None:
    memory = worker(folder, clock).of("up", [])
    change = _AddsInside(10)
    change.rows = memory.rows
    memory.rows.add(0, change)
    assert memory.rows.sum(0) == 11
    memory.rows.add(0, -12)
    assert memory.rows.sum(0) == 0


def test_one_broken_model_does_not_shut_the_others(state: UpstreamState) -> None:
    open_circuit(state)
    assert not is_asked(state)
    assert is_asked(state, "other")
    shown = state.describe()
    assert shown["state"] == "closed"
    assert shown["models"] == {"m": {"state": "open", "since_s": 0.0, "reason": "server_error", "next_probe_s": 5.0}}


def test_an_address_without_a_connection_shuts_all_models(state: UpstreamState, clock: Clock) -> None:
    open_circuit(state, kind=CONNECT)
    assert not is_asked(state)
    assert not is_asked(state, "other")
    clock.now += 2
    shown = state.describe()
    assert (shown["state"], shown["reason"], shown["since_s"], shown["next_probe_s"]) == ("open", "connect", 2.0, 3.0)
    assert shown["models"] == {}


def test_an_answer_shows_that_the_address_works(state: UpstreamState) -> None:
    for _ in range(5):
        fail(state, kind=CONNECT)
        fail(state, kind=CONNECT)
        fail(state, kind=FailureKind.CREDENTIALS)
    assert is_asked(state)
    # The refusal may be the proxy's own.
    fail(state, kind=CONNECT)
    fail(state, kind=CONNECT)
    fail(state, kind=FailureKind.REFUSED)
    fail(state, kind=CONNECT)
    assert not is_asked(state)


def test_lone_upstream_dead(state: UpstreamState, clock: Clock) -> None:
    """It is never refused: an attempt that is forced counts as one, and brings it back."""
    open_circuit(state, kind=CONNECT)
    for _ in range(20):
        clock.now += 0.1
        fail(state, kind=CONNECT)
    assert not is_asked(state)
    attempt = state.force("m")
    assert not attempt.is_probe
    attempt.succeed()
    attempt.close()
    assert is_asked(state)
    assert state.describe()["state"] == "closed"


def test_all_open(state: UpstreamState, clock: Clock) -> None:
    """Of several that are all open one request at a time tries the one that is due first, before its time."""
    other = UpstreamState("other", SharedMemory(None, clock=clock).of("other", []))
    open_circuit(other)
    clock.now += 1
    open_circuit(state)
    assert other.reopens_in_s("m") < state.reopens_in_s("m")
    clock.now += 4
    probe = other.begin("m")
    assert probe
    probe.fail(ERROR)
    assert other.reopens_in_s("m") == 10
    assert other.begin_early("m") is None
    clock.now += 5
    first = other.begin_early("m")
    assert first
    assert first.is_probe
    assert other.begin_early("m") is None
    first.fail(ERROR)
    first.close()
    assert other.reopens_in_s("m") == 5
    assert other.begin_early("m") is None
    clock.now += 5
    second = other.begin_early("m")
    assert second
    second.succeed()
    assert is_asked(other)


def test_a_probe_of_which_the_client_left_leaves_the_lease(state: UpstreamState, clock: Clock) -> None:
    open_circuit(state)
    clock.now += 5
    first = state.begin("m")
    assert first
    assert first.is_probe
    assert state.describe()["models"]["m"]["state"] == "half_open"
    assert not is_asked(state)
    first.close()
    assert is_asked(state)


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.CREDENTIALS])
def test_a_probe_that_shows_nothing_leaves_the_lease(state: UpstreamState, clock: Clock, kind: FailureKind) -> None:
    open_circuit(state)
    clock.now += 5
    probe = state.begin("m")
    assert probe
    probe.fail(kind)
    probe.close()
    assert is_asked(state)
    assert state.describe()["models"]["m"]["state"] == "half_open"


def test_an_address_and_a_model_are_probed_by_one_request(state: UpstreamState, clock: Clock) -> None:
    open_circuit(state)
    open_circuit(state, "other", CONNECT)
    clock.now += 5
    probe = state.begin("m")
    assert probe
    probe.fail(ERROR)
    probe.close()
    assert is_asked(state, "other")
    assert not is_asked(state)


def test_half_of_the_outcomes_of_all_workers_open_it(folder: Path, clock: Clock) -> None:
    states = [state_in(worker(folder, clock), BreakerSettings(failures=100)) for _ in range(2)]
    for _ in range(5):
        clock.now += 1
        fail(states[0])
        assert is_asked(states[1])
        succeed(states[1])
    fail(states[1])
    assert not is_asked(states[0])


def test_outcomes_are_forgotten_after_ten_seconds(state: UpstreamState, clock: Clock) -> None:
    settings = BreakerSettings(failures=100)
    for _ in range(9):
        attempt = state.force("m", settings)
        attempt.fail(ERROR)
        attempt.close()
    clock.now += 10
    attempt = state.force("m", settings)
    attempt.fail(ERROR)
    assert is_asked(state)


def test_a_rule_has_its_own_limits(state: UpstreamState) -> None:
    attempt = state.begin("m", BreakerSettings(failures=1, open_s=20.0))
    assert attempt
    attempt.fail(ERROR)
    assert state.reopens_in_s("m") == 20


def test_a_429_cools_one_model_down(state: UpstreamState, clock: Clock) -> None:
    fail(state, kind=FailureKind.RATE_LIMITED, retry_after_s=7.0)
    assert not is_asked(state)
    assert is_asked(state, "other")
    assert state.is_cooling("m")
    assert not state.is_cooling("other")
    assert state.reopens_in_s("m") == 7
    assert state.begin_early("m") is None
    assert state.describe()["models"]["m"] == {
        "state": "cooling", "since_s": 0.0, "reason": "rate_limited", "next_probe_s": 7.0
    }  # fmt: skip
    open_circuit(state)
    assert not state.is_cooling("m")
    clock.now += 7
    assert is_asked(state)


def test_signs_of_life_reopen_all_circuits(state: UpstreamState, clock: Clock) -> None:
    noticed: list[bool] = []
    state.notice_open = lambda: noticed.append(True)
    assert not state.needs_probe()
    open_circuit(state)
    assert noticed == [True]
    assert state.needs_probe()
    state.record_sign(Sign.UNREACHABLE)
    clock.now += 1
    assert not is_asked(state)
    assert noticed == [True, True]
    state.record_sign(Sign.ALIVE)
    assert not state.needs_probe()
    assert is_asked(state)


def test_the_retry_budget_is_that_of_grpc(folder: Path, clock: Clock) -> None:
    states = [state_in(worker(folder, clock)) for _ in range(2)]
    for _ in range(4):
        assert states[1].take_retry()
        fail(states[0])
    assert states[1].take_retry()
    fail(states[1], kind=FailureKind.RATE_LIMITED)
    assert not states[0].take_retry()
    fail(states[1], kind=FailureKind.CREDENTIALS)
    succeed(states[0])
    assert states[0].take_retry()
    for _ in range(100):
        fail(states[0])
    for _ in range(MAX_TOKENS // 200):
        assert not states[0].take_retry()
        succeed(states[0])
    succeed(states[0])
    assert states[0].take_retry()


def test_models_beyond_the_table_share_a_circuit(state: UpstreamState, clock: Clock) -> None:
    models = [f"model-{number}" for number in range(CELLS + 10)]
    for model in models:
        open_circuit(state, model)
    assert not any(is_asked(state, model) for model in models)
    assert not is_asked(state, "one more")
    shown = state.describe()["models"]
    assert len(shown) == CELLS - 1
    assert shown["*"]["state"] == "open"
    clock.now += 5
    for model in models:
        succeed(state, model)
    assert state.describe()["models"] == {}
    # What has been well for long loses its cell, to the next one that fails or by its own success.
    clock.now += KEEP_CELL_S + 1
    for model in models:
        succeed(state, model)
    open_circuit(state, "late")
    assert is_asked(state, "one more")
    assert list(state.describe()["models"]) == ["late"]


def test_a_model_without_trouble_gives_up_its_cell(state: UpstreamState, clock: Clock) -> None:
    for number in range(CELLS - 2):
        clock.now += 0.1
        fail(state, f"model-{number}")
    open_circuit(state, "late")
    assert not is_asked(state, "late")
    assert is_asked(state, "model-0")
    assert list(state.describe()["models"]) == ["late"]


@pytest.mark.parametrize("model", ["", "模型", "x" * 500, "a\0b", "\ud800"])
def test_any_name_is_a_model(state: UpstreamState, model: str) -> None:
    open_circuit(state, model)
    assert not is_asked(state, model)
    assert is_asked(state, "other")
    (shown,) = state.describe()["models"]
    assert model.encode("utf-8", "replace").decode().startswith(shown)


def test_state_is_kept_over_reloads_unless_the_url_changes(folder: Path, clock: Clock) -> None:
    memory = worker(folder, clock)
    state = state_in(memory)
    stream = state.begin("m")
    assert stream
    open_circuit(state)
    again = UpstreamState("up", memory.of("up", ["http://up"]))
    assert not is_asked(again)
    assert again.open_streams() == 1
    moved = UpstreamState("up", memory.of("up", ["http://elsewhere"]))
    assert is_asked(moved)
    assert moved.open_streams() == 0
    stream.close()
    assert again.open_streams() == 0
    # The last one to use it has ended; what the files hold is found again.
    del state, again, stream
    assert not is_asked(state_in(memory))


def test_without_a_folder_each_worker_knows_for_itself(clock: Clock) -> None:
    states = [state_in(SharedMemory(None, clock=clock)) for _ in range(2)]
    open_circuit(states[0])
    assert not is_asked(states[0])
    assert is_asked(states[1])
    stream = states[0].begin("other")
    assert stream
    assert [state.open_streams() for state in states] == [1, 0]


def test_a_full_disk_costs_one_line_and_no_request(
    folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    memory = worker(folder, clock)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with caplog.at_level(logging.WARNING, "argoproxy"):
            states = [UpstreamState(name, memory.of(name, [])) for name in "ab"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [os.strerror(errno.EFBIG) in record.getMessage() for record in caplog.records] == [True]
    assert is_asked(states[0])
    open_circuit(states[0])
    assert not is_asked(states[0])
    assert is_asked(states[1])


def test_more_workers_than_rows_know_for_themselves(
    folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "argoproxy"):
        state = state_in(SharedMemory(folder, MAX_SLOTS, clock))
    assert len(caplog.records) == 1
    assert is_asked(state)


def test_a_file_that_is_something_else_is_left_alone(
    folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    state_in(worker(folder, clock))
    (file,) = folder.glob("shared-*")
    text = b"something else".ljust(file.stat().st_size, b"x")
    file.write_bytes(text)
    with caplog.at_level(logging.WARNING, "argoproxy"):
        state = state_in(worker(folder, clock))
    assert len(caplog.records) == 1
    assert is_asked(state)
    assert file.read_bytes() == text


def test_opening_and_closing_is_logged_once_each(
    state: UpstreamState, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "argoproxy"):
        for _ in range(10):
            fail(state, "m\n")
            is_asked(state, "m\n")
        clock.now += 5
        succeed(state, "m\n")
        succeed(state, "m\n")
    codes = [record.getMessage().split()[0] for record in caplog.records]
    assert codes == ["code=circuit_opened", "code=circuit_closed"]
    assert all("\n" not in record.getMessage() for record in caplog.records)
