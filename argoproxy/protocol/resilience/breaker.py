"""The arithmetic of one circuit: when an upstream, or one model of it, is asked and when it is left alone.

A circuit is *closed* until failures open it: some in a row, or half of the outcomes of the last seconds. An *open* one
is *half-open* once its time is over, or at the first sign of life after silence: then one request is let through as a
probe. Its success closes the circuit; its failure opens it again for twice as long. A circuit that is *cooling* was
asked to wait (429); that is no failure.

Signs of life come from active probes, which ask for something free of charge. The first probe after a circuit opened
shows whether probes tell anything: if it succeeds although requests failed, they don't, and only time reopens, unless
it was the connection that failed. If it fails, the circuit stays open while they fail, at most MAX_OPEN_S unless there
is no connection at all.

Times are in seconds, by the clock of the caller; 0.0 is never. Functions return a changed copy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from argoproxy.protocol.resilience.failures import FailureKind

#: The longest time that a circuit is open before a request probes, and the longest cooldown that is obeyed.
MAX_OPEN_S = 60.0
MAX_COOLDOWN_S = 3600.0
#: The cooldown after a 429 that names none.
COOLDOWN_S = 1.0
#: A circuit also opens at this share of failures among at least so many outcomes of so many seconds.
SHARE, MIN_OUTCOMES, WINDOW_S = 0.5, 10, 10
#: How long a request may keep the probe to itself, and how long an active probe that failed is believed.
LEASE_S = 60.0
KEEP_SIGN_S = 6.0
#: Where there is no other upstream, a request tries before its time, this long after the last failure.
EARLY_S = 5.0

#: Failures that count for the address, for all models at once.
ADDRESS_KINDS: Collection[FailureKind] = frozenset({FailureKind.CONNECT})
#: Failures that count for the model.
MODEL_KINDS: Collection[FailureKind] = frozenset(
    {FailureKind.TIMEOUT, FailureKind.BROKEN, FailureKind.OVERLOADED, FailureKind.SERVER_ERROR}
)
#: Failures that are answers of the upstream, so that its address works. `refused` may be the proxy's own.
ANSWER_KINDS: Collection[FailureKind] = frozenset(
    {
        *MODEL_KINDS,
        FailureKind.RATE_LIMITED,
        FailureKind.CREDENTIALS,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_POLICY,
    }
)


class CircuitState(StrEnum):
    """The states as they are shown."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    COOLING = "cooling"


class Sign(Enum):
    """What an active probe saw. `SILENT`: a connection, but no answer or an error of the server."""

    ALIVE = "alive"
    SILENT = "silent"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a circuit opens: after so many failures in a row; and for how long at first."""

    failures: int = 3
    open_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Attempts of the last seconds, by how they ended; the one that is being counted is among them."""

    successes: int = 0
    failures: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether there are enough of them, and enough failures among them, to open a circuit."""
        total = self.successes + self.failures
        return total >= MIN_OUTCOMES and self.failures >= SHARE * total


@dataclass(frozen=True, slots=True)
class Trial:
    """An attempt as its circuit sees it: when it began, and whether it has the lease of the probe."""

    begun_at: float
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit. `tried_at` is the time of the last failure that opened it, `open_until` the end of the time that it
    asked for; `lease_until` ends the lease of a request that probes. `silent_until` and `unreachable_until`: how long
    the last active probe, which failed, is believed; `is_telling`: one has failed since the circuit opened, so that the
    next one to succeed is a sign of life (`is_alive`)."""

    failures: int = 0
    closed_at: float = 0.0
    opened_at: float = 0.0
    tried_at: float = 0.0
    open_until: float = 0.0
    open_s: float = 0.0
    cooled_at: float = 0.0
    cooling_until: float = 0.0
    lease_until: float = 0.0
    silent_until: float = 0.0
    unreachable_until: float = 0.0
    is_telling: bool = False
    is_alive: bool = False
    reason: FailureKind | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is open or half-open."""
        return self.opened_at > 0.0

    @property
    def is_plain(self) -> bool:
        """Whether nothing of it needs to be kept, except for a cooldown that may be over."""
        return not self.is_open and self.failures == 0


def state_of(circuit: Circuit, now: float) -> CircuitState:
    """Return the state of a circuit."""
    if not circuit.is_open:
        return CircuitState.COOLING if now < circuit.cooling_until else CircuitState.CLOSED
    return CircuitState.HALF_OPEN if now >= _due_at(circuit, now) else CircuitState.OPEN


def due_in_s(circuit: Circuit, now: float) -> float:
    """Return in how many seconds a request will be let through, as far as that is known; 0.0 for now."""
    if not circuit.is_open:
        return max(0.0, circuit.cooling_until - now)
    return max(0.0, _due_at(circuit, now) - now, circuit.cooling_until - now, min(1.0, circuit.lease_until - now))


def _due_at(circuit: Circuit, now: float) -> float:
    """Return when one request may probe, a cooldown aside."""
    if circuit.is_alive:
        return circuit.tried_at
    if now < circuit.unreachable_until:
        return circuit.unreachable_until
    if now < circuit.silent_until:
        return max(circuit.open_until, min(circuit.silent_until, circuit.tried_at + MAX_OPEN_S))
    return circuit.open_until


def admits_all(circuit: Circuit, now: float) -> bool:
    """Return whether every request is let through."""
    return not circuit.is_open and now >= circuit.cooling_until


def admits_probe(circuit: Circuit, now: float) -> bool:
    """Return whether one request may take the lease of the probe."""
    return _may_lease(circuit, now) and now >= _due_at(circuit, now)


def admits_early(circuit: Circuit, now: float) -> bool:
    """Return whether one request may take the lease of the probe before its time, because there is no other upstream. A
    cooldown is not shortened."""
    return _may_lease(circuit, now) and now >= min(circuit.tried_at + EARLY_S, _due_at(circuit, now))


def _may_lease(circuit: Circuit, now: float) -> bool:
    return circuit.is_open and now >= circuit.lease_until and now >= circuit.cooling_until


def lease_probe(circuit: Circuit, now: float) -> Circuit:
    """Give the lease of the probe to a request."""
    return replace(circuit, lease_until=now + LEASE_S)


def release_probe(circuit: Circuit) -> Circuit:
    """Take back the lease of a request that shows nothing, or whose worker has died: the next request is the probe."""
    return replace(circuit, lease_until=0.0)


def count_success(circuit: Circuit, trial: Trial, now: float) -> Circuit:
    """Count an attempt that brought content. It closes an open circuit unless it began before that opened: then it says
    nothing of the time since."""
    if not circuit.is_open:
        return replace(circuit, failures=0)
    if not trial.is_probe and trial.begun_at < circuit.opened_at:
        return circuit
    return Circuit(closed_at=now, cooled_at=circuit.cooled_at, cooling_until=circuit.cooling_until)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that counts: its kind, the time that the upstream asked for, and the outcomes of the last seconds."""

    kind: FailureKind
    retry_after_s: float | None = None
    outcomes: Outcomes = Outcomes()


def count_failure(circuit: Circuit, failure: Failure, trial: Trial, settings: BreakerSettings, now: float) -> Circuit:
    """Count an attempt that failed. What began before the circuit closed belongs to the trouble that is over."""
    if circuit.is_open:
        return _reopen(circuit, failure, trial, now) if trial.is_probe else circuit
    if trial.begun_at < circuit.closed_at:
        return circuit
    counted = replace(circuit, failures=circuit.failures + 1)
    if counted.failures < settings.failures and not failure.outcomes.is_bad:
        return counted
    return _open(counted, failure, settings.open_s, now)


def _reopen(circuit: Circuit, failure: Failure, trial: Trial, now: float) -> Circuit:
    """Open a circuit again whose probe has failed: for twice as long, unless the probe was taken before its time."""
    is_early = not circuit.is_alive and trial.begun_at < circuit.open_until
    if is_early:
        return replace(release_probe(circuit), tried_at=now)
    return _open(circuit, failure, min(2 * circuit.open_s, max(MAX_OPEN_S, circuit.open_s)), now)


def _open(circuit: Circuit, failure: Failure, open_s: float, now: float) -> Circuit:
    asked_s = min(failure.retry_after_s or 0.0, MAX_COOLDOWN_S)
    return Circuit(
        failures=circuit.failures,
        closed_at=circuit.closed_at,
        opened_at=circuit.opened_at or now,
        tried_at=now,
        open_until=max(circuit.open_until, now + max(open_s, asked_s)),
        open_s=open_s,
        cooled_at=circuit.cooled_at,
        cooling_until=circuit.cooling_until,
        reason=failure.kind,
    )


def cool_down(circuit: Circuit, retry_after_s: float | None, now: float) -> Circuit:
    """Leave an upstream alone that asked for it (429), for the time that it named. A cooldown is never shortened."""
    seconds = COOLDOWN_S if retry_after_s is None else min(max(retry_after_s, 0.0), MAX_COOLDOWN_S)
    cooled_at = circuit.cooled_at if now < circuit.cooling_until else now
    until = max(circuit.cooling_until, now + seconds)
    return replace(release_probe(circuit), cooled_at=cooled_at, cooling_until=until)


def record_sign(circuit: Circuit, sign: Sign, now: float) -> Circuit:
    """Record what an active probe of an open circuit saw."""
    if not circuit.is_open:
        return circuit
    if sign is Sign.ALIVE:
        is_alive = circuit.is_alive or circuit.is_telling or _is_refuted(circuit)
        return replace(circuit, is_alive=is_alive, silent_until=0.0, unreachable_until=0.0)
    until = now + KEEP_SIGN_S
    unreachable_until = until if sign is Sign.UNREACHABLE else 0.0
    return replace(circuit, is_telling=True, is_alive=False, silent_until=until, unreachable_until=unreachable_until)


def _is_refuted(circuit: Circuit) -> bool:
    """Return whether a probe that succeeds refutes what opened the circuit: there was no connection, and now there is
    one. Only until a request has failed since; else one would be wasted at each probe."""
    return circuit.reason is FailureKind.CONNECT and circuit.tried_at == circuit.opened_at


def needs_probe(circuit: Circuit) -> bool:
    """Return whether an active probe can tell something new."""
    return circuit.is_open and not circuit.is_alive
