"""Where a running proxy keeps what its processes share: a folder of its own, in memory where there is such a place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")
_NAME = "argoproxy-{user}-{pid}"
_PORT = "port"


def make() -> Path | None:
    """Make the folder of this process; None where nothing can be written."""
    for root in (_SHARED_MEMORY, Path(tempfile.gettempdir())):
        folder = root / _NAME.format(user=os.getuid(), pid=os.getpid())
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        except OSError:
            continue
        return folder
    return None


def say_port(folder: Path, port: int) -> None:
    """Let the process be found by its port."""
    (folder / _PORT).write_text(str(port))


def remove(folder: Path) -> None:
    """Remove the folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def pid_at(port: int) -> int | None:
    """Find the proxy of this user that serves at a port: its process id."""
    prefix = _NAME.format(user=os.getuid(), pid="")
    for root in (_SHARED_MEMORY, Path(tempfile.gettempdir())):
        for folder in root.glob(f"{prefix}*"):
            said, pid = folder / _PORT, folder.name.removeprefix(prefix)
            if folder.stat().st_uid == os.getuid() and said.is_file() and said.read_text() == str(port) and _lives(pid):
                return int(pid)
    return None


def _lives(pid: str) -> bool:
    return pid.isdecimal() and Path("/proc", pid).exists()
