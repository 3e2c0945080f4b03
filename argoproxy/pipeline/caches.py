"""What a worker remembers between requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Generic, TypeVar

from argoproxy.errors import ProxyError, UpstreamTimeout
from argoproxy.protocol.access.printable import log_value
from argoproxy.protocol.routing.router import Route
from argoproxy.upstreams import Upstream

logger = logging.getLogger("argoproxy")

ResultT = TypeVar("ResultT")

#: A model at an upstream, asked as a stream or whole; and that a stream can't be asked for its tokens.
_Way = tuple[str, str, bool] | tuple[str, str, bool, str]
USAGE = "usage"

#: Seconds that work of another request is waited for; all of it has time-outs, shorter ones.
LONGEST_SHARED_S = 30.0

#: Models that are warned of; after that many nothing is told.
MOST_WARNED = 100

#: Models that are remembered to have been refused in a mode; nobody has as many.
MOST_REFUSED = 1000


class SingleFlight(Generic[ResultT]):
    """Work that callers at the same time do only once; its result is kept for `keep_s` seconds, a failure is not. Who
    shares it waits for `longest_s` seconds at most."""

    def __init__(
        self,
        work: Callable[[], ResultT],
        keep_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        longest_s: float = LONGEST_SHARED_S,
    ) -> None:
        self._longest_s = longest_s
        self._work = work
        self._keep_s = keep_s
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: Future[ResultT] | None = None
        self._kept: Future[ResultT] | None = None
        self._kept_until = 0.0

    def result(self) -> ResultT:
        """Return the result that is kept; else do the work, or wait for the one who does. Raises what it raises."""
        with self._lock:
            kept = self._kept if self._clock() < self._kept_until else None
            is_first = kept is None and self._under_way is None
            future = kept or self._under_way or Future()
            if is_first:
                self._under_way = future
        if is_first:
            self._do(future)
        try:
            return future.result(self._longest_s)
        except TimeoutError:
            if future.done():
                raise
            raise UpstreamTimeout("The request that this one shares took too long.") from None

    def _do(self, future: Future[ResultT]) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 those who wait must hear of it
            future.set_exception(error)
        else:
            future.set_result(result)
            with self._lock:
                self._kept, self._kept_until = future, self._clock() + self._keep_s
        finally:
            with self._lock:
                self._under_way = None


class CachedResult(Generic[ResultT]):
    """What some work came to, for a while; a ProxyError is something it can come to."""

    def __init__(self, keep_s: float, keep_failure_s: float) -> None:
        self._keep_s = keep_s
        self._keep_failure_s = keep_failure_s
        self._result: ResultT | ProxyError | None = None
        self._until = 0.0

    def result(self, work: Callable[[], ResultT]) -> ResultT:
        """Give what is remembered, else do the work. Raises what the work raises, or raised."""
        result = self._result
        if result is None or self._until < time.monotonic():
            try:
                result, keep_s = work(), self._keep_s
            except ProxyError as error:
                result, keep_s = error, self._keep_failure_s
            self._result, self._until = result, time.monotonic() + keep_s
        if isinstance(result, ProxyError):
            raise result.with_traceback(None)
        return result


class LoneClosingTags:
    """Models whose answers showed a closing tag without an opening one; each is warned of once per process."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, model: str) -> None:
        """Log, the first time, which setting removes the thoughts of such a model."""
        if model in self._warned or len(self._warned) >= MOST_WARNED:
            return
        self._warned.add(model)
        logger.warning(
            "code=lone_closing_tag setting=THINK_STARTS_OPEN model=%s: an answer showed a closing tag without an "
            "opening one, so what stands before it may be a thought; THINK_STARTS_OPEN=auto, or think_starts_open for "
            "this model, removes it (docs/thoughts.md)",
            log_value(model),
        )


class RefusedModes:
    """Ways to ask a model that were refused, each for a while: the next request need not learn it again."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until: dict[_Way, float] = {}

    def adapt(self, route: Route[Upstream]) -> Route[Upstream]:
        """Give a route as its model can be asked; the mode it came in follows where the other one is refused."""
        if not self._until or not route.other_mode:
            return route
        if self._is_refused(_way(route)):
            route = replace(route.in_other_mode(), other_mode=route.other_mode)
        return route.without_usage() if route.adds_usage and self._is_refused((*_way(route), USAGE)) else route

    def learn(self, failed: Route[Upstream], taken: Route[Upstream]) -> None:
        """Take note that a model can't be asked along one route, but along another one."""
        if len(self._until) >= MOST_REFUSED:
            self._until.clear()
        is_turned = taken.call.stream != failed.call.stream
        if is_turned:
            self._until.pop(_way(taken), None)
        self._until[_way(failed) if is_turned else (*_way(failed), USAGE)] = time.monotonic() + self._keep_s

    def _is_refused(self, way: _Way) -> bool:
        return self._until.get(way, 0.0) > time.monotonic()


def _way(route: Route[Upstream]) -> tuple[str, str, bool]:
    return route.upstream.name, route.call.model, route.call.stream
