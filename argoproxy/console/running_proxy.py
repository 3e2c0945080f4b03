"""The routes of the proxy that runs now: a console may be there before it, and see it end and start again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from argoproxy.console.api_routes import ApiAnswer, ApiRoutes
from argoproxy.console.data_views import DataViews
from argoproxy.server.runtime import folder_at, is_draining

#: How long the folder of a proxy is believed to be the right one.
BELIEVED_S = 1.0
STATE_HEADER = "Argoproxy-State"


class ProxyRoutes(NamedTuple):
    """What answers for one start of a proxy; the views must be stopped."""

    routes: ApiRoutes
    views: DataViews


class RunningProxy:
    """The routes of whichever proxy serves a port. Each answer tells its state."""

    def __init__(
        self,
        port: int,
        build: Callable[[Path | None], ProxyRoutes],
        find: Callable[[int], Path | None] = folder_at,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`build` makes the routes of a proxy by the folder that its workers share."""
        self._port, self._build, self._find, self._clock = port, build, find, clock
        self._lock = threading.Lock()
        self._folder, self._looked_at = find(port), clock()
        self._current = build(self._folder)
        self._is_running = self._folder is not None

    def read(self, path: str, query: str, known: str) -> ApiAnswer:
        """Answer a GET."""
        answer = self._routes().read(path, query, known)
        return answer._replace(headers=(*answer.headers, (STATE_HEADER, self._state())))

    def act(self, path: str, body: bytes) -> ApiAnswer:
        """Answer a POST."""
        return self._routes().act(path, body)

    def stop(self) -> None:
        """End what runs beside the console."""
        self._current.views.stop()

    def _routes(self) -> ApiRoutes:
        with self._lock:
            if self._clock() - self._looked_at >= BELIEVED_S:
                self._look()
            return self._current.routes

    def _look(self) -> None:
        """Find the proxy again. What one has left is shown until another one runs."""
        folder, self._looked_at = self._find(self._port), self._clock()
        self._is_running = folder is not None
        if folder and folder != self._folder:
            self._current.views.stop()
            self._folder, self._current = folder, self._build(folder)

    def _state(self) -> str:
        if not self._is_running or self._folder is None:
            return "stopped"
        return "draining" if is_draining(self._folder) else "serving"
