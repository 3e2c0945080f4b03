"""Every transition of a circuit, by a clock that the test sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.resilience.breaker import (
    COOLDOWN_S,
    KEEP_SIGN_S,
    LEASE_S,
    MAX_COOLDOWN_S,
    MAX_OPEN_S,
    BreakerSettings,
    Circuit,
    CircuitState,
    Failure,
    Outcomes,
    Sign,
    Trial,
    admits_all,
    admits_early,
    admits_probe,
    cool_down,
    count_failure,
    count_success,
    due_in_s,
    lease_probe,
    needs_probe,
    record_sign,
    release_probe,
    state_of,
)
from argoproxy.protocol.resilience.failures import FailureKind

SETTINGS = BreakerSettings(failures=3, open_s=5.0)
ERROR = Failure(FailureKind.SERVER_ERROR)
NOW = 1000.0


def fail(circuit: Circuit, now: float = NOW, failure: Failure = ERROR, begun_at: float | None = None) -> Circuit:
    """Count the failure of an attempt that is no probe."""
    return count_failure(circuit, failure, Trial(now if begun_at is None else begun_at), SETTINGS, now)


def fail_probe(circuit: Circuit, now: float, begun_at: float | None = None) -> Circuit:
    trial = Trial(now if begun_at is None else begun_at, is_probe=True)
    return count_failure(lease_probe(circuit, trial.begun_at), ERROR, trial, SETTINGS, now)


def opened(now: float = NOW) -> Circuit:
    return fail(fail(fail(Circuit(), now), now), now)


def test_it_opens_at_the_configured_number_of_failures_in_a_row() -> None:
    circuit = fail(fail(Circuit()))
    assert state_of(circuit, NOW) is CircuitState.CLOSED
    assert admits_all(circuit, NOW)
    circuit = fail(circuit)
    assert state_of(circuit, NOW) is CircuitState.OPEN
    assert (circuit.opened_at, circuit.open_until, circuit.reason) == (NOW, NOW + 5, FailureKind.SERVER_ERROR)
    assert not admits_all(circuit, NOW)
    assert not admits_probe(circuit, NOW)
    assert due_in_s(circuit, NOW + 1) == 4


def test_a_success_ends_the_row() -> None:
    circuit = count_success(fail(fail(Circuit())), Trial(NOW), NOW)
    assert circuit.is_plain
    assert state_of(fail(fail(circuit)), NOW) is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("successes", "failures", "state"),
    [(5, 5, "open"), (6, 5, "closed"), (4, 5, "closed"), (0, 9, "closed"), (0, 10, "open"), (0, 0, "closed")],
)
def test_it_opens_at_half_of_at_least_ten_outcomes(successes: int, failures: int, state: str) -> None:
    failure = replace(ERROR, outcomes=Outcomes(successes, failures))
    assert state_of(fail(Circuit(), failure=failure), NOW) == state


def test_a_failure_that_asks_for_a_longer_time_gets_it() -> None:
    circuit = fail(fail(fail(Circuit())), failure=Failure(FailureKind.OVERLOADED, retry_after_s=30.0))
    assert circuit.open_until == NOW + 30
    assert circuit.open_s == 5
    circuit = fail(fail(fail(Circuit())), failure=Failure(FailureKind.OVERLOADED, retry_after_s=10 * MAX_COOLDOWN_S))
    assert circuit.open_until == NOW + MAX_COOLDOWN_S


def test_failures_while_it_is_open_change_nothing() -> None:
    assert fail(opened(), NOW + 1) == opened()


def test_it_is_half_open_when_its_time_is_over_and_lets_one_probe_through() -> None:
    circuit, now = opened(), NOW + 5
    assert state_of(circuit, now) is CircuitState.HALF_OPEN
    assert due_in_s(circuit, now) == 0
    assert not admits_all(circuit, now)
    assert admits_probe(circuit, now)
    circuit = lease_probe(circuit, now)
    assert not admits_probe(circuit, now + LEASE_S - 1)
    assert not admits_early(circuit, now + LEASE_S - 1)
    assert 0 < due_in_s(circuit, now) <= 1
    assert admits_probe(circuit, now + LEASE_S)
    assert admits_probe(release_probe(circuit), now)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = count_success(lease_probe(opened(), NOW + 5), Trial(NOW + 5, is_probe=True), NOW + 6)
    assert circuit == Circuit(closed_at=NOW + 6)


def test_each_probe_that_fails_doubles_the_time_up_to_a_minute() -> None:
    circuit, now, times = opened(), NOW, []
    for _ in range(6):
        now = circuit.open_until
        circuit = fail_probe(circuit, now)
        times.append(circuit.open_until - now)
    assert times == [10, 20, 40, MAX_OPEN_S, MAX_OPEN_S, MAX_OPEN_S]
    assert circuit.opened_at == NOW
    assert circuit.lease_until == 0


def test_a_configured_time_above_a_minute_is_kept() -> None:
    settings = BreakerSettings(failures=1, open_s=90.0)
    circuit = count_failure(Circuit(), ERROR, Trial(NOW), settings, NOW)
    assert circuit.open_until == NOW + 90
    now = NOW + 90
    assert count_failure(circuit, ERROR, Trial(now, is_probe=True), settings, now).open_until == now + 90


def test_a_probe_before_its_time_does_not_double_when_it_fails() -> None:
    circuit = fail_probe(opened(), NOW + 5)
    assert circuit.open_until == NOW + 15
    assert not admits_early(circuit, NOW + 9)
    assert admits_early(circuit, NOW + 10)
    assert not admits_probe(circuit, NOW + 10)
    circuit = fail_probe(circuit, NOW + 11, begun_at=NOW + 10)
    assert circuit.open_until == NOW + 15
    assert not admits_early(circuit, NOW + 14)
    assert admits_early(circuit, NOW + 15)


def test_what_began_before_it_closed_does_not_count() -> None:
    circuit = count_success(opened(), Trial(NOW + 5, is_probe=True), NOW + 6)
    assert fail(circuit, NOW + 7, begun_at=NOW - 1) == circuit
    assert fail(circuit, NOW + 7, begun_at=NOW + 6).failures == 1


def test_what_began_before_it_opened_does_not_close_it() -> None:
    circuit = opened()
    assert count_success(circuit, Trial(NOW - 1), NOW + 1) == circuit
    # An attempt that was forced began later.
    assert not count_success(circuit, Trial(NOW + 1), NOW + 2).is_open


def test_a_429_cools_down_and_does_not_open() -> None:
    circuit = cool_down(Circuit(), 20.0, NOW)
    assert state_of(circuit, NOW) is CircuitState.COOLING
    assert circuit.is_plain
    assert not admits_all(circuit, NOW)
    assert not admits_probe(circuit, NOW)
    assert due_in_s(circuit, NOW + 5) == 15
    assert state_of(circuit, NOW + 20) is CircuitState.CLOSED
    assert admits_all(circuit, NOW + 20)
    assert due_in_s(circuit, NOW + 20) == 0


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, COOLDOWN_S), (0.0, 0.0), (-3.0, 0.0), (1e9, MAX_COOLDOWN_S), (2.5, 2.5)]
)
def test_a_cooldown_is_as_long_as_it_was_asked_for(asked: float | None, seconds: float) -> None:
    assert cool_down(Circuit(), asked, NOW).cooling_until == NOW + seconds


def test_longer_cooldown_wins() -> None:
    circuit = cool_down(cool_down(Circuit(), 20.0, NOW), 60.0, NOW + 1)
    assert (circuit.cooled_at, circuit.cooling_until) == (NOW, NOW + 61)
    assert cool_down(circuit, 1.0, NOW + 2) == circuit
    assert cool_down(circuit, 5.0, NOW + 61).cooled_at == NOW + 61
    assert count_success(circuit, Trial(NOW), NOW + 2).cooling_until == NOW + 61


def test_an_open_circuit_that_cools_down_waits_for_both() -> None:
    circuit = cool_down(opened(), 20.0, NOW)
    assert state_of(circuit, NOW) is CircuitState.OPEN
    assert not admits_probe(circuit, NOW + 6)
    assert not admits_early(circuit, NOW + 6)
    assert due_in_s(circuit, NOW + 6) == 14
    assert admits_probe(circuit, NOW + 20)
    assert fail_probe(circuit, NOW + 20).cooling_until == NOW + 20
    assert count_success(circuit, Trial(NOW + 20, is_probe=True), NOW + 21).cooling_until == NOW + 20


def test_a_429_gives_back_the_lease_of_the_probe() -> None:
    assert cool_down(lease_probe(opened(), NOW + 5), 1.0, NOW + 6).lease_until == 0


def test_the_first_sign_of_life_proves_nothing() -> None:
    circuit = record_sign(opened(), Sign.ALIVE, NOW + 1)
    assert state_of(circuit, NOW + 1) is CircuitState.OPEN
    assert state_of(circuit, NOW + 5) is CircuitState.HALF_OPEN
    assert needs_probe(circuit)


def test_the_first_sign_of_life_refutes_a_connection_that_failed() -> None:
    circuit = Circuit()
    for _ in range(3):
        circuit = fail(circuit, failure=Failure(FailureKind.CONNECT))
    circuit = record_sign(circuit, Sign.ALIVE, NOW + 1)
    assert state_of(circuit, NOW + 1) is CircuitState.HALF_OPEN
    trial = Trial(NOW + 2, is_probe=True)
    again = count_failure(lease_probe(circuit, NOW + 2), Failure(FailureKind.CONNECT), trial, SETTINGS, NOW + 2)
    assert state_of(record_sign(again, Sign.ALIVE, NOW + 3), NOW + 3) is CircuitState.OPEN


@pytest.mark.parametrize("silence", [Sign.SILENT, Sign.UNREACHABLE])
def test_a_sign_of_life_after_silence_lets_a_request_probe_at_once(silence: Sign) -> None:
    circuit = record_sign(opened(), silence, NOW + 1)
    assert state_of(circuit, NOW + 1.5) is CircuitState.OPEN
    circuit = record_sign(circuit, Sign.ALIVE, NOW + 2)
    assert state_of(circuit, NOW + 2) is CircuitState.HALF_OPEN
    assert admits_probe(circuit, NOW + 2)
    assert due_in_s(circuit, NOW + 2) == 0
    assert not needs_probe(circuit)
    assert record_sign(circuit, Sign.ALIVE, NOW + 3).is_alive
    again = fail_probe(circuit, NOW + 3)
    assert again.open_until == NOW + 13
    assert not again.is_telling
    assert state_of(record_sign(again, Sign.ALIVE, NOW + 4), NOW + 4) is CircuitState.OPEN


def test_silence_ends_an_earlier_sign_of_life() -> None:
    circuit = record_sign(record_sign(opened(), Sign.SILENT, NOW), Sign.ALIVE, NOW + 1)
    assert state_of(record_sign(circuit, Sign.SILENT, NOW + 2), NOW + 2) is CircuitState.OPEN


def test_while_probes_are_silent_a_request_tries_after_a_minute() -> None:
    circuit = opened()
    for second in range(int(MAX_OPEN_S)):
        circuit = record_sign(circuit, Sign.SILENT, NOW + second)
        assert state_of(circuit, NOW + second) is CircuitState.OPEN
    assert state_of(circuit, NOW + MAX_OPEN_S) is CircuitState.HALF_OPEN


def test_without_a_connection_no_request_tries() -> None:
    circuit = record_sign(opened(), Sign.UNREACHABLE, NOW + 10 * MAX_OPEN_S)
    assert state_of(circuit, NOW + 10 * MAX_OPEN_S) is CircuitState.OPEN
    assert due_in_s(circuit, NOW + 10 * MAX_OPEN_S) == KEEP_SIGN_S


def test_when_probes_end_time_reopens() -> None:
    circuit = record_sign(opened(), Sign.UNREACHABLE, NOW + 4)
    assert state_of(circuit, NOW + 5) is CircuitState.OPEN
    assert state_of(circuit, NOW + 4 + KEEP_SIGN_S) is CircuitState.HALF_OPEN


def test_a_closed_circuit_has_no_signs() -> None:
    circuit = fail(Circuit())
    assert record_sign(circuit, Sign.SILENT, NOW) == circuit
    assert not needs_probe(circuit)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fail", "succeed", "cool", "lease", "release", "silent", "unreachable", "alive"]),
        st.floats(0.0, 30.0),
        st.floats(0.0, 100.0),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_it_lets_a_request_through_at_last(steps: list[tuple[str, float, float, bool]]) -> None:
    circuit, now = Circuit(), NOW
    for action, pause, seconds, is_probe in steps:
        now += pause
        before = circuit
        trial = Trial(now - seconds / 10, is_probe)
        if action == "fail":
            circuit = count_failure(circuit, replace(ERROR, retry_after_s=seconds), trial, SETTINGS, now)
        elif action == "succeed":
            circuit = count_success(circuit, trial, now)
        elif action == "cool":
            circuit = cool_down(circuit, seconds, now)
        elif action in ("lease", "release"):
            circuit = lease_probe(circuit, now) if action == "lease" else release_probe(circuit)
        else:
            circuit = record_sign(circuit, Sign(action), now)
        assert circuit.cooling_until >= before.cooling_until
        assert sum((admits_all(circuit, now), admits_probe(circuit, now))) <= 1
    later = now + MAX_OPEN_S + LEASE_S + 100
    assert admits_all(circuit, later) or admits_probe(circuit, later)
