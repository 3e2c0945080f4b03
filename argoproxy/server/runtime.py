"""Find a running proxy by its port, and mark it as draining: files in the folder that its processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from argoproxy.telemetry.slots import PREFIX, candidate_parents

#: The published settings.
SNAPSHOT = "settings.json"
_PORT_FILE = "serves"
_DRAINING_FILE = "drains"


def publish_port(folder: Path, port: int) -> None:
    """Let this process, the master, be found by its port."""
    (folder / _PORT_FILE).write_text(f"{port} {os.getpid()}")


def mark_draining(folder: Path) -> None:
    """Mark that the server will stop soon, for the workers to see."""
    (folder / _DRAINING_FILE).touch()


def is_draining(folder: Path) -> bool:
    """Return whether the server will stop soon."""
    return (folder / _DRAINING_FILE).exists()


def pid_at(port: int) -> int | None:
    """Return the process id of the master of this user's proxy at a port, None if there is none."""
    return next((pid for served, pid, _ in _running() if served == port), None)


def folder_at(port: int) -> Path | None:
    """Return the shared folder of this user's proxy at a port, None if there is none."""
    return next((folder for served, _, folder in _running() if served == port), None)


def running_ports() -> Iterator[int]:
    """Yield the ports of this user's running proxies."""
    return (port for port, _, _ in _running())


def _running() -> Iterator[tuple[int, int, Path]]:
    """Yield the port, the master's process id and the shared folder of each of this user's running proxies."""
    for parent in candidate_parents():
        for file in parent.glob(f"{PREFIX}*/{_PORT_FILE}"):
            with suppress(OSError, ValueError):
                port, pid = map(int, file.read_text().split())
                if file.stat().st_uid == os.getuid() and Path("/proc", str(pid)).exists():
                    yield port, pid, file.parent
