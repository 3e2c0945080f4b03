"""Whether the upstream can be reached: any HTTP answer will do, an error too; nothing is asked that costs anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from argoproxy import __version__
from argoproxy.errors import ProxyError
from argoproxy.pipeline.caches import SingleFlight
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.parallel import run_in_parallel
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream

PROBE_S = 4.5
#: How long an answer is kept. After a recovery `/health` is right again within this time.
KEEP_S = 1.0
PROBE_TIMEOUTS = Timeouts(connect_s=PROBE_S, first_byte_s=PROBE_S, idle_s=PROBE_S, total_s=PROBE_S)


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found: a document to show, and the status that goes with it."""

    status: int
    document: Json


def alive() -> Health:
    """Tell that this process serves; nobody is asked."""
    return Health(200, _document("alive"))


class Probe:
    """Asks the upstreams, side by side. Probes at the same time share one answer, which is kept for a second: nobody
    can have the upstreams asked, with our keys, more often. The first upstream, the default one, decides."""

    def __init__(
        self,
        targets: Sequence[tuple[Upstream, Transport]],
        watch: Callable[[], Watch],
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """`watch` makes what the probe waits with; it must not watch the client of one of those who share. Nobody is
        asked any more once the proxy is draining."""
        self._is_draining = is_draining
        self._targets = targets
        self._watch = watch
        self._shared = SingleFlight(self._ask, KEEP_S)

    def health(self) -> Health:
        """Return the answer that is kept; else ask, or wait for who asks already. Takes five seconds at most."""
        if self._is_draining():
            return Health(503, _document("draining"))
        return self._shared.result()

    def _ask(self) -> Health:
        told = self._told()
        reachable = told[0]["reachable"]
        several = {"upstreams": told} if len(told) > 1 else {}
        document = _document("healthy" if reachable else "unhealthy")
        return Health(200 if reachable else 503, {**document, "target": told[0], **several})

    def _told(self) -> list[Json]:
        works = [partial(self._told_of, upstream, transport) for upstream, transport in self._targets]
        if len(works) == 1:
            return [works[0]()]
        watch = self._watch()
        try:
            futures = run_in_parallel(works, PROBE_S, watch)
        finally:
            watch.close()
        late: Json = {"reachable": False, "error": "total_timeout"}
        names = [upstream.name for upstream, _ in self._targets]
        return [
            future.result() if future.done() else {"name": name, **late}
            for name, future in zip(names, futures, strict=True)
        ]

    def _told_of(self, upstream: Upstream, transport: Transport) -> Json:
        """Ask one upstream; one that can't be asked counts as reachable."""
        started = time.monotonic()
        target: Json = {"name": upstream.name}
        watch = self._watch()
        try:
            asked = upstream.probe_request()
            if asked is None:
                return {**target, "reachable": True}
            reply = transport.open(asked, PROBE_TIMEOUTS, watch)
            reply.release_when_done()
            target |= {"reachable": True, "status": reply.status}
        except ProxyError as error:
            target |= {"reachable": False, "error": error.code}
        finally:
            watch.close()
        return {**target, "ms": round(1000 * (time.monotonic() - started), 1)}


def _document(status: str) -> Json:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"status": status, "version": __version__, "timestamp": now}
