"""What a process asks of its system: about its terminal, when it is to stop, for its memory, and for the console."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import argoproxy

#: How long a console that has ended is left alone, at first and at most, and how often it is looked at.
CONSOLE_PAUSE_S, CONSOLE_LONGEST_PAUSE_S, CONSOLE_LOOK_S = 2, 60, 1.0
#: One that ends sooner was not started well.
CONSOLE_RUNS_S = 10.0
#: In the environment of a console that a proxy has started: it ends with that proxy.
STARTED_BY_PROXY = "ARGOPROXY_CONSOLE_OF_PROXY"
_PACKAGE_FOLDER = str(Path(argoproxy.__file__).resolve().parent.parent)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
#: How long before it is killed a worker ends what it still serves.
LAST_MOMENT_S = 3.0

#: Larger blocks are mapped individually, and returned to the system when they are freed.
LARGE_BLOCK = 1024 * 1024
#: Parameters of mallopt (malloc.h of glibc).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


class Terminal:
    """The terminal that the process was started from, if any.

    A terminal that goes away sends SIGHUP, and so does a service manager that asks for a reload: this distinguishes the
    two.
    """

    def __init__(self) -> None:
        """To be made at the start. If SIGHUP is ignored then, `nohup` was used: the process is to go on without the
        terminal."""
        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._was_there = not is_nohup and _has_terminal()
        self._outputs = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def is_gone(self) -> bool:
        """Return whether there was a terminal and there is none any more."""
        return self._was_there and not _has_terminal()

    def discard_output(self) -> None:
        """Discard what is written to it: each write would fail."""
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in self._outputs:
            os.dup2(null, descriptor)
        os.close(null)


def _has_terminal() -> bool:
    """Return whether the process has a controlling terminal: opening /dev/tty fails without one (tty(4)). The kernel
    takes it from all processes of a session at a hang-up, before it sends the signal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def install_stop_handlers(end_waits: Callable[[], None], graceful_timeout_s: float) -> None:
    """End requests that are still served with an error and a log line before the master kills this worker: shortly
    before `graceful_timeout` is over after a TERM, at once after a QUIT.

    A timer of the kernel, because no thread or loop of a worker is sure to run then; what it does is to write to the
    eventfd that all waits hold.
    """
    wait_s = graceful_timeout_s - min(LAST_MOMENT_S, 0.3 * graceful_timeout_s)
    stop: Any = signal.getsignal(signal.SIGTERM)

    def stop_in_time(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, wait_s)
        stop(number, frame)

    def stop_now(number: int, frame: Any) -> None:
        end_waits()
        stop(number, frame)

    signal.signal(signal.SIGALRM, lambda *_: end_waits())
    signal.signal(signal.SIGTERM, stop_in_time)
    signal.signal(signal.SIGQUIT, stop_now)


def reset_signal_handlers() -> None:
    """Reset signal handlers in a forked worker. It begins with the master's, which only put a signal into the master's
    queue: a TERM while the worker boots would be lost, and the master would wait for it until `graceful_timeout`."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def limit_unused_memory() -> None:
    """Make glibc return large blocks of memory to the system at once, and share what it keeps among all threads.

    By default it raises its threshold up to 32 MiB with each large block that is freed (mallopt(3), "dynamic mmap
    threshold"), and keeps such blocks from then on: after one body of 16 MB a worker holds some 50 MB more. Up to eight
    times as many arenas as cores each keep what their threads have freed (M_ARENA_MAX); the interpreter's lock lets one
    thread at a time allocate, so one arena costs no time. Other C libraries have no mallopt, and need none.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        library.mallopt(_M_TRIM_THRESHOLD, LARGE_BLOCK)


def return_unused_memory() -> None:
    """Return to the system what glibc keeps of freed memory (malloc_trim(3)). By itself it returns only the end of its
    heap, and under mixed traffic something is nearly always left there: the heap grows for hours, ever more slowly."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_console(log: Any) -> None:
    """Start the console, and keep it running while this process does. Its standard input is a pipe that is never
    written to: it ends with the last process that has the other end."""
    starting = threading.Lock()
    # A worker that is forked while the console is started would hold the pipe on which its start is waited for.
    os.register_at_fork(before=starting.acquire, after_in_parent=starting.release, after_in_child=starting.release)
    threading.Thread(target=_run_consoles, args=(log, starting), name="console", daemon=True).start()


def _run_consoles(log: Any, starting: threading.Lock) -> None:
    clock, failures = threading.Event(), 0
    while True:
        begun = time.monotonic()
        reason = _run_console(starting, clock)
        failures = failures + 1 if time.monotonic() - begun < CONSOLE_RUNS_S else 0
        pause_s = pause_before_console(failures)
        if failures:
            log.warning("code=console_failed: the console %s; it is started again in %d s", reason, pause_s)
        clock.wait(pause_s)


def pause_before_console(failures: int) -> int:
    """Return how many seconds a console is left alone that has ended soon after its start so many times in a row: one
    that can't start is no reason for a busy master, nor for a long log."""
    return min(CONSOLE_PAUSE_S << max(0, failures - 1), CONSOLE_LONGEST_PAUSE_S)


def _run_console(starting: threading.Lock, clock: threading.Event) -> str:
    """Run the console until it ends, and return in which way it failed if that was too soon."""
    try:
        with starting:
            console = _start_console()
    except OSError as error:
        return f"can't be started ({error.strerror})"
    # Not `wait`: Gunicorn waits for all children, and of two that wait for one the other may sleep on.
    while console.poll() is None:
        clock.wait(CONSOLE_LOOK_S)
    if console.stdin:
        console.stdin.close()
    return "ended soon after its start"


def _start_console() -> subprocess.Popen[bytes]:
    paths = filter(None, (_PACKAGE_FOLDER, os.environ.get("PYTHONPATH", "")))
    environ = {**os.environ, STARTED_BY_PROXY: "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "argoproxy", "console"]
    return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE)  # noqa: S603 fixed words
