"""What keeps ./run_tests.sh from leaving processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, ROOT, eventually, spawn

SUPERVISE = [sys.executable, "-m", "tests.support.supervise"]
#: A server that leaves whoever started it, as far as it can, and does not listen to reason.
DAEMON = "trap '' TERM INT HUP; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.2; done"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def supervised(folder: Path, then: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a supervised shell that starts the daemon, then does something else; return it, and the daemon's pid."""
    script = f'(setsid sh -c "{DAEMON}" & ) ; until [ -e pid ]; do sleep 0.05; done; {then}'
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = spawn([*SUPERVISE, "sh", "-c", script], cwd=folder, env=environ)
    eventually((folder / "pid").exists)
    return process, int((folder / "pid").read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(tmp_path: Path, number: int) -> None:
    process, daemon = supervised(tmp_path, "sleep 1000")
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 128 + number
    assert not is_alive(daemon)


def test_the_end_of_the_command_ends_everything(tmp_path: Path) -> None:
    process, daemon = supervised(tmp_path, "exit 7")
    assert process.wait(PATIENCE_S) == 7
    assert not is_alive(daemon)


def test_a_process_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from tests.support.processes import spawn;"
        "print(spawn([sys.executable, '-c', 'import time; time.sleep(1000)']).pid, flush=True); time.sleep(1000)"
    )
    with spawn([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    eventually(lambda: not is_alive(child))
