"""How a running proxy is found: by the port it serves at, which stands in the folder its processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from argoproxy.telemetry.slots import PREFIX, candidate_parents

_FOUND_BY = "serves"
_DRAINS = "drains"


def tell(folder: Path, port: int) -> None:
    """Let this process be found by its port."""
    (folder / _FOUND_BY).write_text(f"{port} {os.getpid()}")


def drain(folder: Path) -> None:
    """Let the workers know that this process will stop soon."""
    (folder / _DRAINS).touch()


def is_draining(folder: Path) -> bool:
    """Tell whether the process that shares this folder will stop soon."""
    return (folder / _DRAINS).exists()


def pid_at(port: int) -> int | None:
    """Return the id of the master process of this user's proxy at a port, None where there is none."""
    return next((pid for served, pid in _running() if served == port), None)


def running_ports() -> Iterator[int]:
    """Yield the ports of the proxies of this user that run."""
    return (port for port, _ in _running())


def _running() -> Iterator[tuple[int, int]]:
    """Yield the port and the master's process id of each proxy of this user."""
    for parent in candidate_parents():
        for file in parent.glob(f"{PREFIX}*/{_FOUND_BY}"):
            with suppress(OSError, ValueError):
                port, pid = map(int, file.read_text().split())
                if file.stat().st_uid == os.getuid() and Path("/proc", str(pid)).exists():
                    yield port, pid
