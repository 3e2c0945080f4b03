"""How a running proxy is found: by the port it serves at, which stands in the folder its processes share."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from argoproxy.observe.slots import PREFIX, places

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
    """Find the proxy of this user that serves at a port: the id of its master process."""
    for place in places():
        for file in place.glob(f"{PREFIX}*/{_FOUND_BY}"):
            with suppress(OSError, ValueError):
                told, pid = map(int, file.read_text().split())
                if told == port and file.stat().st_uid == os.getuid() and Path("/proc", str(pid)).exists():
                    return pid
    return None
