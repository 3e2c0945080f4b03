"""The proxy that serves now: a worker looks, at each request, whether the master has published other settings."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from argoproxy.config.values.config_error import ConfigError
from argoproxy.pipeline.handlers import Proxy

logger = logging.getLogger("argoproxy")

Stamp = tuple[int, int]


class Current:
    """Gives the proxy of the settings that were published last; requests that run keep the one they have."""

    def __init__(self, make: Callable[[], Proxy], published: Path | None) -> None:
        """`make` makes the proxy of what is published now; without `published` it is made once."""
        self._make = make
        self._published = published
        self._lock = threading.Lock()
        self._stamp: Stamp = (0, 0)
        self._stamp = self._look()
        self._proxy = make()

    def __call__(self) -> Proxy:
        """Give the proxy for a request that comes now."""
        if self._published is not None and self._look() != self._stamp:
            with self._lock:
                self._take_up()
        return self._proxy

    def _take_up(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            made = self._make()
        except (ConfigError, OSError) as error:
            logger.warning("The settings stay as they were in this worker: %s", error)
            return
        before, self._proxy = self._proxy, made
        before.close()

    def _look(self) -> Stamp:
        try:
            found = os.stat(self._published) if self._published else None
        except OSError:
            return self._stamp
        return (found.st_ino, found.st_mtime_ns) if found else self._stamp
