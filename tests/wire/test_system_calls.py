"""How many system calls a worker makes for an event that comes alone: one to wait, one to read, one to write."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import STREAM_BODY, Client
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

EVENTS = 30
#: What a worker does once a second (a sign of life for the master), and threads for the interpreter's lock.
NOW_AND_THEN = {"utimensat", "fchmod", "getppid", "futex", "restart_syscall", "rt_sigreturn"}
#: libev's, before each wait: gevent always asks it to look whether the process was forked (EVFLAG_FORKCHECK).
LIBEV = {"getpid"}
CALL = re.compile(r"(\d+) +(\w+)\((.*)")


@contextmanager
def traced(pid: int, file: Path) -> Iterator[None]:
    """Write the system calls of a process and of its threads to a file. Skips the test where that is not possible."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    errors = file.with_suffix(".err")
    with errors.open("w") as log:
        command = ["strace", "-f", "-qq", "-s", "16", "-o", str(file), "-p", str(pid)]
        strace = subprocess.Popen(command, stderr=log)
    try:
        eventually(lambda: strace.poll() is not None or tracers_of(pid).count(strace.pid) >= threads)
        if strace.poll() is not None:
            pytest.skip(f"strace can't attach: {errors.read_text().strip()}")
        yield
    finally:
        strace.terminate()
        strace.wait()


def tracers_of(pid: int) -> list[int]:
    """Give the process that traces each thread."""
    statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [int(match[1]) for status in statuses if (match := re.search(r"TracerPid:\s*(\d+)", status))]


def calls_between_events(trace: str) -> Counter[str]:
    """Count the calls behind the first event up to the last one, in the thread that relays them; not a wait that a
    timer ended, which returns an empty list."""
    calls = [match.groups() for match in map(CALL.match, trace.splitlines()) if match]
    ((thread, _),) = Counter(thread for thread, name, _ in calls if name == "sendto").most_common(1)
    of_thread = [(name, rest) for by, name, rest in calls if by == thread]
    writes = [at for at, (name, _) in enumerate(of_thread) if name == "sendto"]
    between = of_thread[writes[0] + 1 : writes[-1] + 1]
    return Counter(name for name, rest in between if not re.search(r", \[\], ", rest) and name not in NOW_AND_THEN)


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_an_event_takes_three_system_calls(start: Serve, upstream: Upstream, tmp_path: Path, worker_class: str) -> None:
    steps = (step for at in range(2 * EVENTS) for step in (["send", chunked(event(f"<{at}>"))], ["await"]))
    script = upstream.script(["send", CHUNKED], *steps, ["send", bodies([DONE])])
    proxy = start(TARGET_BASE_URL=upstream.url, WORKERS="1", WORKER_CLASS=worker_class, **UNCOVERED)
    (worker,) = eventually(proxy.workers)
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        for at in range(EVENTS):
            client.until(f"<{at}>".encode())
            upstream.open(script)
        client.until(f"<{EVENTS}>".encode())
        with traced(worker, tmp_path / "trace"):
            for at in range(EVENTS + 1, 2 * EVENTS):
                upstream.open(script)
                client.until(f"<{at}>".encode())
    calls = calls_between_events((tmp_path / "trace").read_text())
    assert calls["sendto"] == EVENTS - 2
    others = LIBEV if worker_class == "gevent" else set()
    assert sum(count for name, count in calls.items() if name not in others) <= 3 * calls["sendto"], calls
