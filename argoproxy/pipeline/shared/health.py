"""`/health`: whether the upstreams can be reached. Any HTTP answer will do, an error too; the request costs nothing.
`/health/live` and `/health/ready` ask no upstream."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from argoproxy import __version__
from argoproxy.errors import ProxyError, Stopping
from argoproxy.pipeline.shared.caches import SingleFlight
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.parallel import run_in_parallel
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Watch
from argoproxy.upstreams import Upstream

#: `/health` answers within 5 seconds; the rest is for what comes before and after the requests.
PROBE_S = 4.5
#: How long a result is kept: how long `/health` may be wrong after an upstream has recovered.
KEEP_S = 1.0
#: Fields of a state that are shown where a key is needed only.
_KEYED = ("models", "openings")
PROBE_TIMEOUTS = Timeouts(connect_s=PROBE_S, first_byte_s=PROBE_S, idle_s=PROBE_S, total_s=PROBE_S)


@dataclass(frozen=True, slots=True)
class Health:
    """The status and the document that `/health` answers with."""

    status: int
    document: Json


def liveness() -> Health:
    """Return that this process serves; no upstream is asked."""
    return Health(200, _document("alive"))


class Probe:
    """Asks all upstreams side by side; the first one, the default, decides the status.

    Concurrent callers share one result, which is kept for a second: `/health` needs no key, and without a limit
    anybody could send requests with the operator's keys through it.
    """

    def __init__(
        self,
        targets: Sequence[tuple[Upstream, Transport]],
        watch: Callable[[], Watch],
        is_draining: Callable[[], bool] = lambda: False,
        find_fault: Callable[[], str] = lambda: "",
    ) -> None:
        """`watch` creates a Watch without a client: the result is shared, so no caller's leaving may end the probe.
        While the proxy `is_draining` no upstream is asked. `find_fault` returns why this process refuses clients, ""
        if it does not."""
        self._is_draining = is_draining
        self._find_fault = find_fault
        self._targets = targets
        self._watch = watch
        self._shared = SingleFlight(self._probe_all, KEEP_S)

    def readiness(self) -> Health:
        """Return whether this process should get requests; no upstream is asked.

        It serves only after it has loaded its settings; those of a reload that can't be used leave the previous ones.
        """
        if self._is_draining():
            return Health(503, {**_document("draining"), "reason": "The proxy will stop soon."})
        if fault := self._find_fault():
            return Health(503, {**_document("not_ready"), "reason": fault})
        watch = self._watch()
        try:
            watch.wait(None, 0)
        except (Stopping, OSError) as error:
            # Each request needs such a wait: without descriptors or memory for one, none can be served.
            reason = error.strerror if isinstance(error, OSError) else error.message
            return Health(503, {**_document("not_ready"), "reason": reason})
        finally:
            watch.close()
        return Health(200, _document("ready"))

    def health(self) -> Health:
        """Return the kept result, else probe the upstreams."""
        if self._is_draining():
            return Health(503, _document("draining"))
        return self._shared.result()

    def _probe_all(self) -> Health:
        targets = self._targets_as_json()
        reachable = targets[0]["reachable"]
        several = {"upstreams": targets} if len(targets) > 1 else {}
        document = _document("healthy" if reachable else "unhealthy")
        return Health(200 if reachable else 503, {**document, "target": targets[0], **several})

    def _targets_as_json(self) -> list[Json]:
        works = [partial(self._probe_one, upstream, transport) for upstream, transport in self._targets]
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

    def _probe_one(self, upstream: Upstream, transport: Transport) -> Json:
        """Probe one upstream; the demo, which has no server, counts as reachable."""
        started = time.monotonic()
        target: Json = {"name": upstream.name}
        watch = self._watch()
        try:
            request = upstream.probe_request()
            if request is None:
                return {**target, "reachable": True}
            reply = transport.open(request, PROBE_TIMEOUTS, watch)
            reply.release_when_done()
            target |= {"reachable": True, "status": reply.status}
        except ProxyError as error:
            target |= {"reachable": False, "error": error.code}
        finally:
            watch.close()
        return {**target, "ms": round(1000 * (time.monotonic() - started), 1)}


def add_states(health: Health, states: Mapping[str, Json]) -> Health:
    """Return the health with the state of each upstream in it, without what needs a key."""
    shown = {name: _describe_without_key(state) for name, state in states.items()}
    document = dict(health.document)
    if "target" in document:
        document["target"] = _add_state(document["target"], shown)
    if "upstreams" in document:
        document["upstreams"] = [_add_state(target, shown) for target in document["upstreams"]]
    return Health(health.status, document)


def _add_state(target: Json, states: Mapping[str, Json]) -> Json:
    return {**target, **states.get(target["name"], {})}


def _describe_without_key(state: Json) -> Json:
    """Return what those without a key may know of a state: /health needs no key, so models are only counted."""
    models = {"open_models": len(state["models"])} if state["models"] else {}
    return {**{key: value for key, value in state.items() if key not in _KEYED}, **models}


def _document(status: str) -> Json:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"status": status, "version": __version__, "timestamp": now}
