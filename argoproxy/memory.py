"""What a worker remembers between requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Generic, TypeVar

from argoproxy.errors import ProxyError
from argoproxy.protocol.models import Route
from argoproxy.upstreams import Upstream

ResultT = TypeVar("ResultT")

#: Models that are remembered to have been refused in a mode; nobody has as many.
MOST_REFUSED = 1000


class Shared(Generic[ResultT]):
    """Work that callers at the same time do only once; nothing is kept when it is done."""

    def __init__(self, work: Callable[[], ResultT]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._under_way: Future[ResultT] | None = None

    def result(self) -> ResultT:
        """Do the work, or wait for the one who does. Raises what the work raises."""
        with self._lock:
            is_first = self._under_way is None
            future = self._under_way = self._under_way or Future()
        if is_first:
            self._do(future)
        return future.result()

    def _do(self, future: Future[ResultT]) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 those who wait must hear of it
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            with self._lock:
                self._under_way = None


class Remembered(Generic[ResultT]):
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


class RefusedModes:
    """Models that were refused in a mode, each for a while: the next request need not learn it again."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until: dict[tuple[str, str, bool], float] = {}

    def turned(self, route: Route[Upstream]) -> Route[Upstream]:
        """Give a route, in the other mode where this one was refused; this one follows where that is refused."""
        if not self._until or not route.turns:
            return route
        if self._until.get(_way(route), 0.0) <= time.monotonic():
            return route
        return replace(route.turned(), turns=route.turns)

    def learn(self, route: Route[Upstream]) -> None:
        """Take note that a model can't be asked along this route, but can in the other mode."""
        if len(self._until) >= MOST_REFUSED:
            self._until.clear()
        name, model, is_stream = _way(route)
        self._until.pop((name, model, not is_stream), None)
        self._until[name, model, is_stream] = time.monotonic() + self._keep_s


def _way(route: Route[Upstream]) -> tuple[str, str, bool]:
    return route.upstream.name, route.call.model, route.call.stream
