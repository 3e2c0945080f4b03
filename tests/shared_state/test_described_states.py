"""What is shown of the state of an upstream."""

from __future__ import annotations

from pathlib import Path

from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState
from argoproxy.telemetry.slots import make_folder

FAILURES = 3


def fail(state: UpstreamState, kind: FailureKind, model: str = "m1", times: int = FAILURES) -> None:
    attempts = [state.force(model) for _ in range(times)]
    for attempt in attempts:
        attempt.fail(kind)
        attempt.close()


def test_a_circuit_that_opens_is_counted_once() -> None:
    state = UpstreamState("one", SharedMemory(None).of("one", ()))
    assert state.describe() == {"state": "closed", "openings": 0, "models": {}, "open_streams": 0, "waiting": 0}
    fail(state, FailureKind.CONNECT, times=FAILURES + 5)
    described = state.describe()
    assert (described["state"], described["reason"], described["openings"]) == ("open", "connect", 1)
    assert described["since_s"] >= 0
    assert described["next_probe_s"] > 0


def test_circuits_of_models_are_shown_below_their_upstream() -> None:
    state = UpstreamState("one", SharedMemory(None).of("one", ()))
    fail(state, FailureKind.SERVER_ERROR, "m1")
    fail(state, FailureKind.TIMEOUT, "m2", times=1)
    described = state.describe()
    assert (described["state"], described["openings"], list(described["models"])) == ("closed", 1, ["m1"])
    assert described["models"]["m1"]["reason"] == "server_error"


def test_openings_are_those_of_all_workers(tmp_path: Path) -> None:
    folder = make_folder([tmp_path])
    one, other = (UpstreamState("one", SharedMemory(folder, slot).of("one", ())) for slot in (0, 1))
    fail(one, FailureKind.SERVER_ERROR, "m1")
    fail(other, FailureKind.SERVER_ERROR, "m2")
    assert one.describe()["openings"] == other.describe()["openings"] == 2
