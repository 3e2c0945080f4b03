"""What the workers of a host know together about each upstream: how many streams it has, and whether to ask it.

While all is well an attempt writes one word of its worker's row, twice, and reads two words that all share: no system
call, and no lock that another process could hold. Failures are counted under the lock of the host.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.resilience.breaker import ADDRESS_KINDS, MODEL_KINDS, BreakerSettings, Sign
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.cells import ADDRESS, Cell
from argoproxy.shared_state.circuits import NO_LEASES, Begun
from argoproxy.shared_state.upstream_memory import OPEN_STREAMS, TOKENS_SPENT, UpstreamMemory

logger = logging.getLogger("argoproxy")

#: The retry budget of gRPC (proposal A6), in thousandths: a failure costs a token, a success brings a tenth of one.
MAX_TOKENS, FAILURE_COST, SUCCESS_GAIN = 10_000, 1_000, 100
#: Failures that more attempts would make worse.
BUDGETED_KINDS = frozenset({*ADDRESS_KINDS, *MODEL_KINDS, FailureKind.RATE_LIMITED})
DEFAULT_BREAKER = BreakerSettings()


class UpstreamAttempt:
    """One attempt; it counts as an open stream until it is closed."""

    __slots__ = ("_begun_at", "_is_closed", "_is_counted", "_leases", "_model", "_settings", "_state")

    def __init__(self, state: UpstreamState, model: str, settings: BreakerSettings, leases: frozenset[Cell]) -> None:
        """`leases` are the cells whose probe it is."""
        self._state, self._model, self._settings, self._leases = state, model, settings, leases
        self._is_counted = self._is_closed = False
        self._begun_at = state.clock()
        state.count_stream(1)

    @property
    def is_probe(self) -> bool:
        """Whether an open circuit depends on it."""
        return bool(self._leases)

    def succeed(self) -> None:
        """Count a success: the first content, or a whole reply, has come."""
        if not self._is_counted:
            self._is_counted = True
            if not self._state.is_quiet():
                self._state.count_success(self._summary())

    def fail(self, kind: FailureKind, retry_after_s: float | None = None) -> None:
        """Count a failure, with the time that the upstream asked for."""
        if not self._is_counted:
            self._is_counted = True
            self._state.count_failure(self._summary(), kind, retry_after_s)

    def close(self) -> None:
        """End the attempt; further calls do nothing. If it has neither succeeded nor failed, the client has left: that
        counts as nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._leases and not self._is_counted:
            self._state.release(self._leases)
        self._is_counted = True
        self._state.count_stream(-1)

    def _summary(self) -> Begun:
        return Begun(self._model, self._begun_at, self._leases, self._settings)


class UpstreamState:
    """The state of one upstream, with the settings of one reload."""

    def __init__(self, name: str, memory: UpstreamMemory, settings: BreakerSettings = DEFAULT_BREAKER) -> None:
        self.name = name
        self._settings, self.clock = settings, memory.clock
        self._memory, self._circuits = memory, memory.circuits
        self._rows, self._numbers, self._is_all_closed = memory.rows, memory.head.numbers, memory.table.is_empty
        #: Called when a circuit has opened, or was found open.
        self.notice_open: Callable[[], None] = _do_nothing
        #: Counts a stream that opens (1), or ends (-1).
        self.count_stream = partial(self._rows.add, OPEN_STREAMS)

    def begin(self, model: str, settings: BreakerSettings | None = None) -> UpstreamAttempt | None:
        """Begin an attempt; None while the circuit of the address or of the model is open or cooling down, and no probe
        is due. `settings` are those of the model's rule."""
        if self._is_all_closed():
            return UpstreamAttempt(self, model, settings or self._settings, NO_LEASES)
        return self._begin_leased(model, settings, self._circuits.lease(model, self.clock()))

    def begin_early(self, model: str, settings: BreakerSettings | None = None) -> UpstreamAttempt | None:
        """Begin an attempt at an upstream that is open, before its time, because there is no other; None while another
        attempt of the host is the probe, and while it is cooling down."""
        return self._begin_leased(model, settings, self._circuits.lease_early(model, self.clock()))

    def force(self, model: str, settings: BreakerSettings | None = None) -> UpstreamAttempt:
        """Begin an attempt at a lone upstream, which is never refused."""
        return UpstreamAttempt(self, model, settings or self._settings, NO_LEASES)

    def reopens_in_s(self, model: str) -> float:
        """Return in how many seconds it will be asked, as far as that is known; 0 if it would be asked now."""
        return self._circuits.due_in_s(model, self.clock())

    def is_cooling(self, model: str) -> bool:
        """Return whether it has only asked to wait (429)."""
        return self._circuits.is_cooling(model, self.clock())

    def open_streams(self) -> int:
        """Return the number of open streams of all workers of the host."""
        return self._rows.sum(OPEN_STREAMS)

    def take_retry(self) -> bool:
        """Return whether the retry budget allows to try the same upstream again."""
        return 2 * self._numbers[TOKENS_SPENT] < MAX_TOKENS

    def describe(self) -> Json:
        """Return the state as JSON, for `/health`, `/metrics` and the command line."""
        return {**self._circuits.describe(self.clock()), "open_streams": self.open_streams(), "waiting": 0}

    def is_quiet(self) -> bool:
        """Return whether a success changes nothing."""
        return self._is_all_closed() and not self._numbers[TOKENS_SPENT]

    def count_success(self, begun: Begun) -> None:
        """Count the success of an attempt."""
        for cell in self._circuits.count_success(begun, self.clock()):
            logger.warning("code=circuit_closed upstream=%s model=%s", self.name, _log_model(cell))
        self._spend(-SUCCESS_GAIN)

    def count_failure(self, begun: Begun, kind: FailureKind, retry_after_s: float | None) -> None:
        """Count the failure of an attempt."""
        for cell in self._circuits.count_failure(begun, kind, retry_after_s, self.clock()):
            logger.warning("code=circuit_opened upstream=%s model=%s reason=%s", self.name, _log_model(cell), kind)
        if kind in BUDGETED_KINDS:
            self._spend(FAILURE_COST)
        self._look_for_open()

    def release(self, leases: frozenset[Cell]) -> None:
        """Take back the leases of an attempt that shows nothing."""
        self._circuits.release(leases, self.clock())

    def needs_probe(self) -> bool:
        """Return whether an active probe can tell something new."""
        return not self._is_all_closed() and self._circuits.is_any_open()

    def record_sign(self, sign: Sign) -> None:
        """Record what an active probe saw."""
        self._circuits.record_sign(sign, self.clock())

    def lease_active_probe(self, seconds: float) -> bool:
        """Return whether this worker is the one that probes actively, for so many seconds from now on."""
        return self._memory.lease_active_probe(seconds)

    def _begin_leased(
        self, model: str, settings: BreakerSettings | None, leases: frozenset[Cell] | None
    ) -> UpstreamAttempt | None:
        if leases is None:
            self._look_for_open()
            return None
        return UpstreamAttempt(self, model, settings or self._settings, leases)

    def _look_for_open(self) -> None:
        if self.needs_probe():
            self.notice_open()

    def _spend(self, thousandths: int) -> None:
        """Take from the retry budget, or give back to it."""
        if thousandths < 0 and not self._numbers[TOKENS_SPENT]:
            return
        with self._memory.group.lock.exclusive():
            self._numbers[TOKENS_SPENT] = min(max(0, self._numbers[TOKENS_SPENT] + thousandths), MAX_TOKENS)


class UpstreamStates:
    """The states of all upstreams, by name; those of one reload."""

    def __init__(self, states: Mapping[str, UpstreamState]) -> None:
        self._states = states

    def of(self, name: str) -> UpstreamState:
        """Return the state of an upstream."""
        return self._states[name]

    def __iter__(self) -> Iterator[UpstreamState]:
        """Yield the states, in the order of the settings."""
        return iter(self._states.values())

    def __len__(self) -> int:
        return len(self._states)


def _log_model(cell: Cell) -> str:
    return "*" if cell is ADDRESS else log_value(cell.name)


def _do_nothing() -> None:
    """Nothing probes actively."""
