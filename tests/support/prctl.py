"""What Linux does for processes when others end: prctl(2). Without Linux, nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Loaded once: a process that has just been forked must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that started it ends; it survives an exec."""
    if _libc:
        _libc.prctl(PR_SET_PDEATHSIG, number)


def child_of_this_process(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` for processes that must not outlive the one that starts them, even if that is killed."""
    parent = os.getpid()

    def bind() -> None:
        die_with_parent(number)
        if os.getppid() != parent:  # it ended in between: no signal would come any more
            os._exit(1)

    return bind


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if _libc:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


if __name__ == "__main__":  # become a command that ends with the process that starts it
    die_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])
