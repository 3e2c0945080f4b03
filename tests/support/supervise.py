"""Run a command and leave no process behind: `python -m tests.support.supervise COMMAND [ARGUMENT ...]`.

Orphans become children of this process, so that it finds whatever the command started, directly or not. When the
command ends, what is left is killed. TERM, HUP and Ctrl-C reach the command as an interrupt, so that pytest still
reports what it knows; a few seconds later everything is killed. If this process is killed itself, the kernel tells the
command (`die_with_parent`), and each pytest kills its servers the same way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tests.support.prctl import adopt_orphans, child_of_this_process

STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
#: How long an interrupted command may take to report; what is left then is killed.
REPORT_S = 20.0
POLL_S = 0.1


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and those it has adopted."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, directly or not."""
    found = children(pid)
    return [*found, *(below for child in found for below in descendants(child))]


def interrupt_group() -> None:
    """Do what Ctrl-C at a terminal does: interrupt all that belong to this process's group, but not this process."""
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == os.getpgrp():
                os.kill(pid, signal.SIGINT)


def kill_descendants() -> None:
    """Kill until nothing is left: whatever a killed process had started is adopted, and found in the next round."""
    while found := children(os.getpid()):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


class Supervisor:
    """A command, and which signal ended it early."""

    def __init__(self, command: list[str]) -> None:
        self.stopped_by = 0
        self.stop_at = float("inf")
        for number in STOPPING:
            signal.signal(number, self.stop)
        bind = child_of_this_process(signal.SIGTERM)
        self.command = subprocess.Popen(command, preexec_fn=bind)  # noqa: PLW1509 there are no threads here

    def stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by:
            self.stop_at = 0.0
            return
        self.stopped_by, self.stop_at = number, time.monotonic() + REPORT_S
        if number != signal.SIGINT:
            interrupt_group()

    def wait(self) -> int:
        """Wait for the command, or for the end of its time: the exit status."""
        while self.command.poll() is None and time.monotonic() < self.stop_at:
            with suppress(subprocess.TimeoutExpired):
                self.command.wait(POLL_S)
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        status = self.command.returncode
        kill_descendants()
        if self.stopped_by:
            return 128 + self.stopped_by
        return status if status >= 0 else 128 - status


def main() -> int:
    adopt_orphans()
    return Supervisor(sys.argv[1:]).wait()


if __name__ == "__main__":
    sys.exit(main())
