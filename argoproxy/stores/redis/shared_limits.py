"""A LimitStore for several hosts: counters in a Redis server, and what becomes of requests while it can't be used.

Only the first requests that meet a server in trouble wait for it, up to the time-out; afterwards a thread of its own
asks whether it is back, delivers what it missed, and only then is it used again. What requests used is settled by their
ids, so that it does not matter which answers were lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.limits import Admission, Claim
from argoproxy.stores.limit_store import LedgerEntry, LimitStore, Reservation
from argoproxy.stores.redis.host_limits import HostLimits, Reserved
from argoproxy.stores.redis.kept_settlements import KeptSettlements, current_charges
from argoproxy.stores.redis.redis_limits import LEASE_S, LateSettlement, SharedCounters, dump_claims

logger = logging.getLogger("argoproxy")

#: How often leases are renewed, and how often a server in trouble is asked whether it is back.
RENEW_S = LEASE_S / 3
PROBE_S = 1.0

Reporter = Callable[[str | None], None]


def log_shared_trouble(reason: str | None) -> None:
    """Log that the shared counters can't be used any more, or that they can again."""
    if reason is None:
        logger.warning("code=shared_limits_available: limits are counted for all replicas again")
    else:
        logger.error("code=shared_limits_unavailable: %s", reason)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where things are counted: for all replicas, on this host meanwhile, and what is to be delivered. `ledger` is None
    if nothing is written down."""

    shared: SharedCounters
    host: HostLimits
    kept: KeptSettlements
    ledger: LimitStore | None


@dataclass(frozen=True, slots=True)
class HeldClaims:
    """What the server has reserved for a request that runs."""

    claims: tuple[Claim, ...]
    tokens: int


class SharedLimits:
    """The counters of all replicas. Nothing is opened before the first request with limits; use it after the fork."""

    def __init__(
        self, stores: Stores, report: Reporter = log_shared_trouble, renew_s: float = RENEW_S, probe_s: float = PROBE_S
    ) -> None:
        """`report` is called with the reason when the server can't be used any more, and with None when it can."""
        self._stores, self._report = stores, report
        self._renew_s, self._probe_s = renew_s, probe_s
        self._lock = threading.Lock()
        #: Requests by their ids; what they claim later has ids of its own.
        self._leases: dict[str, HeldClaims] = {}
        #: What requests are charged that are being settled.
        self._ending: dict[str, Mapping[str, int]] = {}
        self._on_host: set[str] = set()
        self._parts: dict[str, list[str]] = {}
        self._down_since: float | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def is_up(self) -> bool:
        """Whether the server could be used last time."""
        return self._down_since is None

    def admit(self, reservation: Reservation, now: float) -> Admission:
        """See LimitStore. While the server can't be used, requests are counted on this host, or refused."""
        admission = Admission()
        if reservation.claims:
            request_id = reservation.if_abandoned.request_id
            admission = self._claim(request_id, reservation.claims, reservation.abandoned_tokens, now)
        if admission.refused is None and self._stores.ledger is not None:
            self._stores.ledger.admit(reservation._replace(claims=()), now)
        return admission

    def extend(self, request_id: str, claims: Sequence[Claim], now: float) -> Admission:
        """See LimitStore."""
        if request_id not in self._leases and request_id not in self._on_host:
            return Admission()
        parts = self._parts.get(request_id, [])
        leases = [self._leases[part] for part in (request_id, *parts) if part in self._leases]
        known = {claim.row for lease in leases for claim in lease.claims}
        more = [claim for claim in claims if claim.row not in known]
        if not more:
            return Admission()
        part = f"{request_id}+{len(parts) + 1}"
        admission = self._claim(part, more, max((lease.tokens for lease in leases), default=0), now)
        if admission.refused is None:
            self._parts[request_id] = [*parts, part]
        return admission

    def settle(self, request_id: str, charges: Mapping[str, int], entry: LedgerEntry | None, now: float) -> None:
        """See LimitStore."""
        if self._stores.ledger is not None:
            self._stores.ledger.settle(request_id, {}, entry, now)
        for part in (request_id, *self._parts.pop(request_id, ())):
            self._ending[part] = charges
            lease = self._leases.pop(part, None)
            if lease is not None:
                self._settle_shared(part, lease, charges, now)
            elif part in self._on_host:
                self._on_host.discard(part)
                self._stores.kept.keep(self._stores.host.settle(part, charges, now), now)
                self._wake.set()
            self._ending.pop(part, None)

    def close(self) -> None:
        """Write down what is kept, and close what is open."""
        self._closed.set()
        self._wake.set()
        self._stores.kept.close()
        self._stores.host.close()

    def maintain(self) -> None:
        """Renew the leases of requests that run. If the server could not be used, ask whether it can be, and deliver
        what it missed. Raises nothing for a server in trouble."""
        now = time.time()
        try:
            self._renew(now)
            self._deliver()
            self._stores.host.refresh(self._stores.shared.read_used)
        except StateUnavailable as error:
            self._begin_trouble(error)
        else:
            self._end_trouble()

    def _claim(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> Admission:
        self._start()
        reserved = Reserved(request_id, claims, tokens)
        if self._down_since is not None:
            return self._claim_on_host(reserved, now)
        try:
            admission = self._stores.shared.admit(request_id, claims, tokens, now)
        except StateUnavailable as error:
            self._begin_trouble(error)
            return self._claim_unsure(reserved, now)
        self._stores.host.note_levels(admission)
        if admission.refused is None:
            self._leases[request_id] = HeldClaims(tuple(claims), tokens)
        return admission

    def _claim_unsure(self, reserved: Reserved, now: float) -> Admission:
        """Count a request on this host that the server may have admitted: only its answer did not come. If it is not
        granted, the server has to forget it."""
        try:
            return self._claim_on_host(reserved, now)
        finally:
            if reserved.request_id not in self._on_host:
                self._stores.kept.keep(LateSettlement(reserved.request_id, "", {}, is_admitted=False), now)

    def _claim_on_host(self, reserved: Reserved, now: float) -> Admission:
        down_since = self._down_since
        down_s = 0.0 if down_since is None else time.monotonic() - down_since
        admission = self._stores.host.admit(reserved, down_s, now)
        if admission.refused is None:
            self._on_host.add(reserved.request_id)
        return admission

    def _settle_shared(self, request_id: str, lease: HeldClaims, charges: Mapping[str, int], now: float) -> None:
        if self._down_since is None:
            try:
                self._stores.shared.settle(request_id, charges, now)
            except StateUnavailable as error:
                self._begin_trouble(error)
            else:
                return
        self._stores.kept.keep(LateSettlement(request_id, dump_claims(lease.claims), charges, is_admitted=True), now)

    def _renew(self, now: float) -> None:
        """Renew all leases. What a server without a file lost when it stopped is reserved again."""
        for request_id in self._stores.shared.renew(list(self._leases), now):
            lease = self._leases.get(request_id)
            if lease is not None:
                self._stores.shared.restore(request_id, lease.claims, lease.tokens, now)
                if request_id not in self._leases:  # it has ended meanwhile
                    self._stores.shared.settle(request_id, self._ending.get(request_id, {}), now)

    def _deliver(self) -> None:
        """Deliver what is kept. Raises StateUnavailable if the server can't be used."""
        while True:
            try:
                kept = self._stores.kept.read()
            except StateUnavailable:
                return
            if not kept:
                return
            now = time.time()
            for settlement, at in kept:
                self._stores.shared.replay(current_charges(settlement, max(0.0, now - at)), now)
            try:
                self._stores.kept.remove([settlement for settlement, _ in kept], now)
            except StateUnavailable:
                return

    def _start(self) -> None:
        """Start the thread, in the worker."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="shared limits", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._renew_s if self._down_since is None else self._probe_s)
            self._wake.clear()
            if self._closed.is_set():
                return
            try:
                self.maintain()
            except Exception:  # whatever it is, without this thread all leases would end
                if not self._closed.is_set():
                    logger.exception("The leases of requests could not be renewed; this is tried again")

    def _begin_trouble(self, error: StateUnavailable) -> None:
        with self._lock:
            if self._down_since is not None:
                return
            self._down_since = time.monotonic()
            self._report(str(error))
        self._wake.set()

    def _end_trouble(self) -> None:
        with self._lock:
            if self._down_since is not None:
                self._down_since = None
                self._report(None)
