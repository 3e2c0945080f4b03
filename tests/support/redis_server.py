"""A Redis server of its own for a test: frozen, killed, started again, with whatever settings it takes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tests.support.processes import eventually, free_port, is_listening, spawn

if TYPE_CHECKING:
    from argoproxy.stores.redis.server import RedisServer

#: Why there can be none here; "" if there can.
MISSING = ", ".join(
    name
    for name, is_there in (("redis-server", shutil.which("redis-server")), ("the package redis", find_spec("redis")))
    if not is_there
)


class RealRedis:
    """The server; `options` are those of redis-server. It keeps nothing in files unless they say so."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = ("--save", "", *options)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command: Sequence[str] = ("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", *self._options)
        self._process = spawn(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        eventually(lambda: is_listening(self.port))

    def server(self, timeout_s: float = 5.0, port: int = 0, user: str = "") -> RedisServer:
        """Return connections to it, or to what listens at another port before it; `user` is `name:password@`."""
        from argoproxy.stores.redis.server import RedisServer  # noqa: PLC0415 where the package is missing, the tests are skipped

        return RedisServer(f"redis://{user}127.0.0.1:{port or self.port}/0", timeout_s)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it had in memory is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> RealRedis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
