"""The circuits of one upstream: what an attempt needs to begin, and what its end changes.

The failures of an attempt count for the model's circuit, or for the address's if it found no connection. Everything is
decided by `protocol/resilience/breaker`; here circuits are read from the cells that workers share and written back,
under the lock of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.resilience.breaker import (
    ADDRESS_KINDS,
    ANSWER_KINDS,
    MODEL_KINDS,
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
from argoproxy.shared_state.cells import ADDRESS, ADDRESS_CELL, Cell, CellTable, cell_of
from argoproxy.shared_state.mapped_file import HostLock

NO_LEASES: frozenset[Cell] = frozenset()


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that has begun: for which model and when, the cells whose probe it is, and when it opens a circuit."""

    model: str
    at: float
    leases: frozenset[Cell]
    settings: BreakerSettings

    def trial(self, cell: Cell) -> Trial:
        """Return the attempt as a circuit sees it."""
        return Trial(self.at, cell in self.leases)


class Circuits:
    """The circuits of one upstream."""

    def __init__(self, table: CellTable, lock: HostLock) -> None:
        self._table, self._lock = table, lock

    def lease(self, model: str, now: float) -> frozenset[Cell] | None:
        """Return the cells whose probe a request becomes, none while all circuits are closed; None if it must not be
        sent."""
        return self._lease(model, now, admits_probe)

    def lease_early(self, model: str, now: float) -> frozenset[Cell] | None:
        """Do the same for a request that has no other upstream: it becomes the probe before the time has come."""
        return self._lease(model, now, admits_early)

    def release(self, leases: frozenset[Cell], now: float) -> None:
        """Take back the leases of a request that shows nothing."""
        with self._lock.exclusive():
            self._release(leases, now)

    def count_success(self, begun: Begun, now: float) -> list[Cell]:
        """Count an attempt that brought content, and return the cells whose circuits it closed."""
        found = self._find(begun.model, now)
        for index, _, _ in found:
            self._table.count_outcome(index, Outcomes(successes=1), now)
        if all(circuit.is_plain and self._table.is_kept(index, now) for index, _, circuit in found):
            return []
        with self._lock.exclusive():
            cells = (ADDRESS, cell_of(begun.model))
            return [cell for cell in cells if self._succeed(cell, begun, now)]

    def count_failure(self, begun: Begun, kind: FailureKind, retry_after_s: float | None, now: float) -> list[Cell]:
        """Count an attempt that failed, and return the cells whose circuits it opened. A kind that counts for neither
        circuit gives back the leases."""
        cell = ADDRESS if kind in ADDRESS_KINDS else cell_of(begun.model)
        is_opened = False
        with self._lock.exclusive():
            if kind in ADDRESS_KINDS or kind in MODEL_KINDS:
                is_opened = self._fail(cell, begun, Failure(kind, retry_after_s), now)
            elif kind is FailureKind.RATE_LIMITED:
                self._cool(cell, retry_after_s, now)
            if kind in ANSWER_KINDS:
                self._succeed(ADDRESS, begun, now)
            self._release(begun.leases, now)
        return [cell] if is_opened else []

    def is_any_open(self) -> bool:
        """Return whether an active probe can tell something new of any circuit."""
        return any(needs_probe(self._table.read(index, 0.0)) for index, _ in self._table.in_use())

    def record_sign(self, sign: Sign, now: float) -> None:
        """Record what an active probe saw."""
        with self._lock.exclusive():
            for index, _ in list(self._table.in_use()):
                self._table.write(index, record_sign(self._table.read(index, now), sign, now), now)

    def due_in_s(self, model: str, now: float) -> float:
        """Return in how many seconds a request will be let through, as far as that is known."""
        return max((due_in_s(circuit, now) for _, _, circuit in self._find(model, now)), default=0.0)

    def is_cooling(self, model: str, now: float) -> bool:
        """Return whether the upstream has asked to wait (429), and nothing is wrong with it otherwise."""
        states = {state_of(circuit, now) for _, _, circuit in self._find(model, now)}
        return CircuitState.COOLING in states and states <= {CircuitState.COOLING, CircuitState.CLOSED}

    def describe(self, now: float) -> Json:
        """Return the state of the address's circuit, how often circuits have opened, and the states of those of models
        that are not closed."""
        places = dict(self._table.in_use())
        is_used = places.pop(ADDRESS_CELL, None) is not None
        address = self._table.read(ADDRESS_CELL, now) if is_used else Circuit()
        models = {name: _describe(self._table.read(index, now), now) for index, name in places.items()}
        not_closed = {name: shown for name, shown in models.items() if shown["state"] != CircuitState.CLOSED}
        return {**_describe(address, now), "openings": self._table.openings, "models": not_closed}

    def _lease(self, model: str, now: float, admits: Callable[[Circuit, float], bool]) -> frozenset[Cell] | None:
        circuits = [circuit for _, _, circuit in self._find(model, now)]
        if all(admits_all(circuit, now) for circuit in circuits):
            return NO_LEASES
        if not all(admits_all(circuit, now) or admits(circuit, now) for circuit in circuits):
            return None
        with self._lock.exclusive() as is_locked:
            # Others may have taken the lease since.
            found = [item for item in self._find(model, now) if not admits_all(item[2], now)]
            if not is_locked or not all(admits(circuit, now) for _, _, circuit in found):
                return None
            for index, _, circuit in found:
                self._table.write(index, lease_probe(circuit, now), now)
                self._table.set_lease_owner(index)
        return frozenset(cell for _, cell, _ in found)

    def _find(self, model: str, now: float) -> list[tuple[int, Cell, Circuit]]:
        """Return the circuits that decide of requests for a model, without those that never had a failure."""
        places = [(self._table.find(cell), cell) for cell in (ADDRESS, cell_of(model))]
        return [(index, cell, self._table.read(index, now)) for index, cell in places if index is not None]

    def _succeed(self, cell: Cell, begun: Begun, now: float) -> bool:
        """Count a success, and return whether it closed the circuit."""
        index = self._table.find(cell)
        if index is None:
            return False
        circuit = self._table.read(index, now)
        changed = count_success(circuit, begun.trial(cell), now)
        self._table.write(index, changed, now)
        return circuit.is_open and not changed.is_open

    def _fail(self, cell: Cell, begun: Begun, failure: Failure, now: float) -> bool:
        """Count a failure, and return whether it opened the circuit."""
        index = self._table.allocate(cell, now)
        self._table.mark_failure(index, now)
        self._table.count_outcome(index, Outcomes(failures=1), now)
        circuit = self._table.read(index, now)
        outcomes = self._table.outcomes(index, circuit.closed_at, now)
        changed = count_failure(circuit, replace(failure, outcomes=outcomes), begun.trial(cell), begun.settings, now)
        self._table.write(index, changed, now)
        has_opened = changed.is_open and not circuit.is_open
        if has_opened:
            self._table.count_opening()
        return has_opened

    def _cool(self, cell: Cell, retry_after_s: float | None, now: float) -> None:
        index = self._table.allocate(cell, now)
        self._table.mark_failure(index, now)
        self._table.write(index, cool_down(self._table.read(index, now), retry_after_s, now), now)

    def _release(self, leases: frozenset[Cell], now: float) -> None:
        for cell in leases:
            index = self._table.find(cell)
            if index is not None and self._table.is_lease_own(index):
                self._table.write(index, release_probe(self._table.read(index, now)), now)


def _describe(circuit: Circuit, now: float) -> Json:
    """Return a circuit as JSON: since when it is not closed, why, and when the next request may try, in seconds."""
    state = state_of(circuit, now)
    shown: Json = {"state": str(state)}
    if circuit.is_open:
        shown |= {"since_s": round(now - circuit.opened_at, 1), "reason": str(circuit.reason)}
    elif state is CircuitState.COOLING:
        shown |= {"since_s": round(now - circuit.cooled_at, 1), "reason": str(FailureKind.RATE_LIMITED)}
    if state is not CircuitState.CLOSED:
        shown["next_probe_s"] = round(due_in_s(circuit, now), 1)
    return shown
