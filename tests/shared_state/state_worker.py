"""A process that begins attempts on command, as a worker does.

`python -m tests.shared_state.state_worker FOLDER OPEN_S` opens circuits for OPEN_S seconds.

Each line of its input is a call as JSON, `[name, argument, …]`; each line of its output the result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamAttempt, UpstreamState
from argoproxy.telemetry.slots import Slots
from tests.support.processes import ROOT, spawn

NAME, URLS = "spare", ("http://spare",)


class Commands:
    """What such a process does."""

    def __init__(self, folder: Path, open_s: float) -> None:
        slots = Slots(folder)
        with slots.exclusive():
            self.slot = slots.take()
        self._memory = SharedMemory(folder, self.slot)
        self._state = UpstreamState(NAME, self._memory.of(NAME, URLS), BreakerSettings(open_s=open_s))
        self._attempts: list[UpstreamAttempt] = []

    def begin(self, model: str) -> bool | None:
        """Begin an attempt; returns whether it is a probe, None if there is none."""
        attempt = self._state.begin(model)
        if attempt is None:
            return None
        self._attempts.append(attempt)
        return attempt.is_probe

    def force(self, model: str) -> None:
        self._attempts.append(self._state.force(model))

    def succeed(self) -> None:
        attempt = self._attempts.pop()
        attempt.succeed()
        attempt.close()

    def fail(self, kind: str, retry_after_s: float | None = None) -> None:
        attempt = self._attempts.pop()
        attempt.fail(FailureKind(kind), retry_after_s)
        attempt.close()

    def close(self) -> None:
        self._attempts.pop().close()

    def streams(self) -> int:
        return self._state.open_streams()

    def describe(self) -> Any:
        return self._state.describe()

    def due(self, model: str) -> float:
        return self._state.reopens_in_s(model)

    def lease_active_probe(self) -> bool:
        return self._state.lease_active_probe(100.0)

    def fork(self) -> int:
        """Fork a process that begins an attempt and ends, and return the streams that it counted."""
        child = os.fork()
        if not child:
            self._state.begin("m")
            os._exit(self._state.open_streams())
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)


class StateWorker:
    """Such a process, from the outside."""

    def __init__(self, folder: Path, open_s: float) -> None:
        command = [sys.executable, "-m", "tests.shared_state.state_worker", str(folder), str(open_s)]
        self.process: subprocess.Popen[str] = spawn(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.slot = self._receive()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the process, and return its result."""
        self.send(name, *arguments)
        return self._receive()

    def send(self, name: str, *arguments: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        return self._receive()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.communicate()

    def _receive(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


def _run(folder: Path, open_s: float) -> None:
    commands = Commands(folder, open_s)
    print(json.dumps(commands.slot), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(commands, name)(*arguments)), flush=True)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), float(sys.argv[2]))
