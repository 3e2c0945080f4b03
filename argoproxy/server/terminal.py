"""Tell a terminal that went away from a service manager that asks for a reload: both send SIGHUP."""

from __future__ import annotations

import os
import signal


class Terminal:
    """The terminal that the process was started from, if any."""

    def __init__(self) -> None:
        """To be made at the start. Under `nohup` SIGHUP is ignored then: whoever asked for that wants the process to
        go on without the terminal."""
        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._was_there = not is_nohup and _is_there()
        self._outputs = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def is_gone(self) -> bool:
        """Return whether there was one and there is none any more."""
        return self._was_there and not _is_there()

    def silence(self) -> None:
        """Drop what is written to it: each write would fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in self._outputs:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _is_there() -> bool:
    """Opening /dev/tty fails in a process without a controlling terminal (tty(4)); the kernel takes it from all
    processes of a session at a hang-up, before it sends the signal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
