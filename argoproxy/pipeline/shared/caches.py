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
from argoproxy.protocol.routing.route import Route
from argoproxy.upstreams import Upstream

logger = logging.getLogger("argoproxy")

ResultT = TypeVar("ResultT")

#: A form of a request that can be refused: upstream, model, whether as a stream; with USAGE, a stream with its usage.
_Form = tuple[str, str, bool] | tuple[str, str, bool, str]
USAGE = "usage"

#: Seconds that a request waits for work that another one does. The work has shorter time-outs of its own.
MAX_WAIT_S = 30.0

#: Models that are warned of, in a process; clients choose the names.
MAX_WARNED_MODELS = 100

#: Refused forms that are remembered; far more than there are models, so that clients can't fill the memory.
MAX_REFUSED_FORMS = 1000


class SingleFlight(Generic[ResultT]):
    """Work that concurrent callers do once together. Its result is kept for `keep_s` seconds, a failure is not. The
    others wait for `max_wait_s` seconds at most."""

    def __init__(
        self,
        work: Callable[[], ResultT],
        keep_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._max_wait_s = max_wait_s
        self._work = work
        self._keep_s = keep_s
        self._clock = clock
        self._lock = threading.Lock()
        self._running: Future[ResultT] | None = None
        self._kept: Future[ResultT] | None = None
        self._kept_until = 0.0

    def result(self) -> ResultT:
        """Return the kept result, else do the work, or wait for the caller who does it. Raises what the work raises,
        UpstreamTimeout."""
        with self._lock:
            kept = self._kept if self._clock() < self._kept_until else None
            is_first = kept is None and self._running is None
            future = kept or self._running or Future()
            if is_first:
                self._running = future
        if is_first:
            self._run(future)
        try:
            return future.result(self._max_wait_s)
        except TimeoutError:
            # Since Python 3.11 the work's own TimeoutError has the same class as that of `Future.result`.
            if future.done():
                raise
            raise UpstreamTimeout("Another request that fetches the same data takes too long.") from None

    def _run(self, future: Future[ResultT]) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 the waiting callers raise it too
            future.set_exception(error)
        else:
            future.set_result(result)
            with self._lock:
                self._kept, self._kept_until = future, self._clock() + self._keep_s
        finally:
            with self._lock:
                self._running = None


class CachedResult(Generic[ResultT]):
    """The result of some work, kept for a while. A ProxyError is kept too, for a shorter while, so that an upstream
    without a list of models is not asked for it with each request."""

    def __init__(self, keep_s: float, keep_failure_s: float) -> None:
        self._keep_s = keep_s
        self._keep_failure_s = keep_failure_s
        self._result: ResultT | ProxyError | None = None
        self._until = 0.0

    def result(self, work: Callable[[], ResultT]) -> ResultT:
        """Return the kept result, else do the work. Raises what the work raises, or raised."""
        result = self._result
        if result is None or self._until < time.monotonic():
            try:
                result, keep_s = work(), self._keep_s
            except ProxyError as error:
                result, keep_s = error, self._keep_failure_s
            self._result, self._until = result, time.monotonic() + keep_s
        if isinstance(result, ProxyError):
            # An exception that is raised again keeps the frames of each time in its traceback, and all they refer to.
            raise result.with_traceback(None)
        return result


class LoneClosingTags:
    """Models whose answers had a closing tag without an opening one. Each is warned of once in a process."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, model: str) -> None:
        """Log, the first time, which setting removes the reasoning of such a model."""
        if model in self._warned or len(self._warned) >= MAX_WARNED_MODELS:
            return
        self._warned.add(model)
        logger.warning(
            "code=lone_closing_tag setting=THINK_STARTS_OPEN model=%s: an answer had a closing tag without an opening "
            "one, so the text before it may be reasoning; THINK_STARTS_OPEN=auto, or think_starts_open for this model, "
            "removes it (docs/thoughts.md)",
            log_value(model),
        )


class MissingPaths:
    """The paths that upstreams turned out not to have, until the settings are reloaded."""

    def __init__(self) -> None:
        self._paths: set[tuple[str, str]] = set()

    def __contains__(self, path: tuple[str, str]) -> bool:
        return path in self._paths

    def add(self, upstream: str, path: str) -> None:
        """Remember, and log once, that an upstream does not have a path."""
        if (upstream, path) not in self._paths:
            self._paths.add((upstream, path))
            logger.info("code=path_converted upstream=%s path=%s: it has no such path", upstream, path)


class RefusedModes:
    """Forms of a request that an upstream refused for a model, each remembered for `keep_s` seconds: later requests go
    up in the other form at once."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until: dict[_Form, float] = {}

    def adapt(self, route: Route[Upstream]) -> Route[Upstream]:
        """Return a route in the form that was not refused. It may be turned back: both may be refused by now."""
        if not self._until or not route.other_mode:
            return route
        if self._is_refused(_form(route)):
            route = replace(route.in_other_mode(), other_mode=route.other_mode)
        return route.without_usage() if route.adds_usage and self._is_refused((*_form(route), USAGE)) else route

    def learn(self, refused: Route[Upstream], accepted: Route[Upstream]) -> None:
        """Remember the refused form of a route whose other form was accepted."""
        if len(self._until) >= MAX_REFUSED_FORMS:
            self._until.clear()
        is_other_mode = accepted.call.stream != refused.call.stream
        if is_other_mode:
            self._until.pop(_form(accepted), None)
        self._until[_form(refused) if is_other_mode else (*_form(refused), USAGE)] = time.monotonic() + self._keep_s

    def _is_refused(self, form: _Form) -> bool:
        return self._until.get(form, 0.0) > time.monotonic()


def _form(route: Route[Upstream]) -> tuple[str, str, bool]:
    return route.upstream.name, route.call.model, route.call.stream
