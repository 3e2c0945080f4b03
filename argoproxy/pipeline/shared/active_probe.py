"""Active probes: while a circuit is open, one worker of the host asks the upstream for something free, once a second.

They begin when a circuit opens, or is found open, and end when none is left that a probe can tell something new of; a
proxy whose upstreams work sends none. The worker that probes has a lease, which ends with it: then the next worker that
finds the circuit open goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from argoproxy.errors import ProxyError
from argoproxy.protocol.resilience.breaker import Sign
from argoproxy.protocol.resilience.failures import FailureKind, classify
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.shared_state.upstream_state import UpstreamState
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream

INTERVAL_S = 1.0
#: How long a probe waits that is not answered, although the upstream may have come back since. Shorter than what
#: believes in the last probe (`breaker.KEEP_SIGN_S`), with the interval.
PROBE_S = 1.5
PROBE_TIMEOUTS = Timeouts(connect_s=PROBE_S, first_byte_s=PROBE_S, idle_s=PROBE_S, total_s=PROBE_S)
#: How long a worker that hangs keeps others from probing.
LEASE_S = 5.0


class ActiveProbe:
    """Probes one upstream."""

    def __init__(
        self, upstream: Upstream, transport: Transport, state: UpstreamState, unwatched: Callable[[], Watch]
    ) -> None:
        """`unwatched` creates a Watch without a client. Probes start when the state notices an open circuit."""
        self._upstream, self._transport, self._state, self._unwatched = upstream, transport, state, unwatched
        self._lock = threading.Lock()
        self._is_running = False
        self._looked_at = float("-inf")
        self._stopped = threading.Event()
        state.notice_open = self.start

    def start(self) -> None:
        """Start to probe in a thread, unless one does so, or the last one was started within INTERVAL_S: while another
        worker probes there is nothing to do. Never blocks."""
        now = time.monotonic()
        with self._lock:
            if self._is_running or now - self._looked_at < INTERVAL_S or self._stopped.is_set():
                return
            self._is_running, self._looked_at = True, now
        try:
            threading.Thread(target=self._run, name="active-probe", daemon=True).start()
        except RuntimeError:  # the system can start no thread; time reopens the circuit
            self._is_running = False

    def stop(self) -> None:
        """End the probes, because other settings hold now."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            while self._state.needs_probe() and self._state.lease_active_probe(LEASE_S):
                begun = time.monotonic()
                if sign := self._probe():
                    self._state.record_sign(sign)
                if sign is None or self._stopped.wait(max(0.0, begun + INTERVAL_S - time.monotonic())):
                    return
        finally:
            self._is_running = False

    def _probe(self) -> Sign | None:
        """Ask once; None if the upstream has nothing that is free."""
        watch = self._unwatched()
        try:
            request = self._upstream.probe_request()
            if request is None:
                return None
            reply = self._transport.open(request, PROBE_TIMEOUTS, watch)
            reply.release_when_done()
            return Sign.ALIVE if reply.status < 500 else Sign.SILENT
        except ProxyError as error:
            return Sign.UNREACHABLE if classify(error) is FailureKind.CONNECT else Sign.SILENT
        finally:
            watch.close()
