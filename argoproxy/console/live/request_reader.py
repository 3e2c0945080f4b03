"""The requests that the workers serve, and those that have ended lately: as the workers tell, and from the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from argoproxy.console.live.logged_requests import LoggedRequests
from argoproxy.console.views.recent_requests import RecentRequest, RecentRequests
from argoproxy.console.views.sources import Sources
from argoproxy.telemetry.live.live_files import ENDED, OPEN, EndedRequest, LiveFolder, OpenRequest

NOT_TOLD = "Only a proxy that is started with CONSOLE tells which requests are under way."
NOT_KEPT = "Requests that have ended stand here if the proxy is started with CONSOLE, or has a journal (OUTPUT_PATH)."


class RequestReader:
    """Reads them for all views. Threads share it."""

    def __init__(self, shared: Path | None) -> None:
        """`shared` is the folder that the workers share, if there is one."""
        self._live = LiveFolder(shared) if shared else None
        self._logged, self._recent = LoggedRequests(), RecentRequests()

    def read_open(self) -> list[OpenRequest]:
        """Return the requests under way, the oldest first."""
        rows: list[OpenRequest] = self._live.look(OPEN) if self._live else []
        return sorted(rows, key=lambda one: one["at"])

    def read_ended(self, sources: Sources, now: float) -> Sequence[RecentRequest]:
        """Return the requests of the last half hour, in the order in which they ended."""
        rows: list[EndedRequest] = self._live.look(ENDED) if self._live else []
        logged = self._logged.read_new(sources.config.journal)
        return self._recent.add((*logged, *(RecentRequest(**row) for row in rows)), now)
