"""Active probes of an upstream whose circuit is open: when they are sent, what they change, and when they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from argoproxy.pipeline.shared.active_probe import ActiveProbe
from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.demo import DemoUpstream
from argoproxy.upstreams.openai import OpenAIUpstream
from tests.support.processes import eventually
from tests.support.switched_upstream import SwitchedUpstream

#: Longer than any test: only a sign of life makes the circuit half-open.
SETTINGS = BreakerSettings(failures=1, open_s=1000.0)

Start = Callable[[Upstream], tuple[UpstreamState, ActiveProbe]]


@pytest.fixture(scope="module")
def running() -> Iterator[SwitchedUpstream]:
    with SwitchedUpstream("probed") as upstream:
        yield upstream


@pytest.fixture
def server(running: SwitchedUpstream) -> SwitchedUpstream:
    running.reset()
    return running


@pytest.fixture
def start() -> Iterator[Start]:
    poller, probes, transports = Poller(), list[ActiveProbe](), list[Transport]()

    def start_probe(upstream: Upstream) -> tuple[UpstreamState, ActiveProbe]:
        state = UpstreamState(upstream.name, SharedMemory(None).of(upstream.name, []), SETTINGS)
        transports.append(Transport(1, 60.0))
        probes.append(ActiveProbe(upstream, transports[-1], state, lambda: Watch(None, poller)))
        return state, probes[-1]

    yield start_probe
    for probe in probes:
        probe.stop()
    eventually(lambda: not probing())
    for transport in transports:
        transport.close()


class Unasked(DemoUpstream):
    """Has nothing that is free."""

    def probe_request(self) -> None:  # type: ignore[override]
        return None


def adapter(server: SwitchedUpstream) -> OpenAIUpstream:
    return OpenAIUpstream(BaseUrl.parse(server.url))


def fail(state: UpstreamState, kind: FailureKind = FailureKind.SERVER_ERROR) -> None:
    attempt = state.force("m")
    attempt.fail(kind)
    attempt.close()


def is_probe_due(state: UpstreamState) -> bool:
    """Tell whether a request would be sent as the probe; its client leaves at once."""
    attempt = state.begin("m")
    if attempt is None:
        return False
    assert attempt.is_probe
    attempt.close()
    return True


@pytest.mark.parametrize("kind", ["refused", "silent", "status"])
def test_a_sign_of_life_after_silence_lets_a_request_through(start: Start, server: SwitchedUpstream, kind: str) -> None:
    state, _ = start(adapter(server))
    server.switch(kind)
    fail(state)
    eventually(lambda: state.reopens_in_s("m") < 900 if kind == "refused" else len(server.seen()) > 1)
    assert not is_probe_due(state)
    server.switch("ok")
    eventually(lambda: is_probe_due(state))


def test_a_first_sign_of_life_proves_nothing(start: Start, server: SwitchedUpstream) -> None:
    state, _ = start(adapter(server))
    fail(state)
    eventually(lambda: len(server.seen("/models")) > 1)
    assert not is_probe_due(state)


def test_any_answer_below_500_is_a_sign_of_life(start: Start, server: SwitchedUpstream) -> None:
    state, _ = start(adapter(server))
    server.switch("status", status=503)
    fail(state)
    eventually(lambda: len(server.seen()) > 1)
    server.switch("status", status=401)
    eventually(lambda: is_probe_due(state))


def test_nothing_is_sent_while_all_is_well(start: Start, server: SwitchedUpstream) -> None:
    state, probe = start(adapter(server))
    fail(state, FailureKind.REFUSED)
    fail(state, FailureKind.RATE_LIMITED)
    probe.start()
    eventually(lambda: not probing())
    assert server.seen() == []


def test_probes_end_when_the_circuit_closes(start: Start, server: SwitchedUpstream) -> None:
    state, _ = start(adapter(server))
    fail(state)
    eventually(server.seen)
    attempt = state.force("m")
    attempt.succeed()
    attempt.close()
    eventually(lambda: not probing())


def test_probes_end_with_the_settings_and_go_on_with_the_next_ones(start: Start, server: SwitchedUpstream) -> None:
    state, probe = start(adapter(server))
    server.switch("status", status=500)
    fail(state)
    eventually(server.seen)
    probe.stop()
    eventually(lambda: not probing())
    assert state.begin("m") is None
    assert not probing()


def test_an_upstream_without_a_free_request_is_not_probed(start: Start) -> None:
    state, _ = start(Unasked())
    fail(state)
    eventually(lambda: not probing())
    assert state.begin("m") is None


def probing() -> list[threading.Thread]:
    """Return the threads that probe."""
    return [thread for thread in threading.enumerate() if thread.name == "active-probe"]
