"""Whether the upstream can be reached: any HTTP answer will do, an error too; nothing is asked that costs anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from argoproxy import __version__
from argoproxy.errors import ProxyError
from argoproxy.memory import Shared
from argoproxy.protocol.chunks import Json
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.transport import Transport
from argoproxy.upstreams import Upstream
from argoproxy.watch import Watch

PROBE_S = 4.5
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
    """Asks the upstream; those who want to know at the same time share one answer."""

    def __init__(self, upstream: Upstream, transport: Transport, watch: Callable[[], Watch]) -> None:
        """`watch` makes what the probe waits with; it must not watch the client of one of those who share."""
        self._upstream = upstream
        self._transport = transport
        self._watch = watch
        self._shared = Shared(self._ask)

    def health(self) -> Health:
        """Ask, or wait for who asks already; takes five seconds at most."""
        return self._shared.result()

    def _ask(self) -> Health:
        started = time.monotonic()
        target: Json = {"name": self._upstream.name}
        watch = self._watch()
        try:
            reply = self._transport.open(self._upstream.probe(), PROBE_TIMEOUTS, watch)
            reply.settle()
            target |= {"reachable": True, "status": reply.status}
        except ProxyError as error:
            target |= {"reachable": False, "error": error.code}
        finally:
            watch.close()
        target["ms"] = round(1000 * (time.monotonic() - started), 1)
        reachable = target["reachable"]
        return Health(
            200 if reachable else 503, {**_document("healthy" if reachable else "unhealthy"), "target": target}
        )


def _document(status: str) -> Json:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"status": status, "version": __version__, "timestamp": now}
