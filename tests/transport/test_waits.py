from __future__ import annotations

import os
import subprocess
import sys

import pytest

from argoproxy.transport.waits.thread_waits import ThreadWaiting


@pytest.mark.parametrize(("kind", "count"), [("gevent", 600), ("gthread", 1200)])
def test_hundreds_of_requests_wait_at_once(kind: str, count: int) -> None:
    """Each sees its upstream speak, and its client leave or the process stop. The kernel lets one file be in 500 epolls
    that are in an epoll, and gevent's loop aborts the process at the next one."""
    command = [sys.executable, "-m", "tests.transport.many_waits", kind, str(count)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.split("\n")[0] == f"spoke {count} left {count // 2} stopped {count // 2} late 0", ended.stderr


def test_what_many_requests_used_is_closed_when_they_are_over() -> None:
    waiting = ThreadWaiting()
    waiting.open(-1).close()
    before = os.listdir("/proc/self/fd")
    waits = [waiting.open(-1) for _ in range(50)]
    for one in waits:
        one.close()
    assert os.listdir("/proc/self/fd") == before
