"""What stands for `python` in tests of many commands does what Python would."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, eventually, fork_server, free_port, is_listening, spawn, uncovered_environment


def forking(*arguments: str) -> list[str]:
    """Return the command line that stands for `python ARGUMENT …`."""
    stub = ROOT / "tests" / "support" / "forking_python.py"
    return [sys.executable, "-I", "-S", str(stub), fork_server({}).path, *arguments]


def run(command: list[str], folder: Path, **environ: str) -> tuple[int, bytes, bytes]:
    ran = subprocess.run(
        command, cwd=folder, env=uncovered_environment() | environ, input=b"typed", capture_output=True, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (str(ROOT / "cot_proxy.py"), "--version"),
        (str(ROOT / "cot_proxy.py"), "--no-such-flag"),
        (str(ROOT / "app.py"), "--show", "MODEL"),
        ("-m", "argoproxy", "config", "--no-such-flag"),
        ("-c", "import sys; print(sys.stdin.read(), sys.argv); sys.exit(7)", "x"),
    ],
)
def test_a_command_prints_and_ends_as_with_python(arguments: tuple[str, ...], tmp_path: Path) -> None:
    variables = {"PYTHONPATH": str(ROOT), "TARGET_BASE_URL": "http://localhost:1"}
    assert run(forking(*arguments), tmp_path, **variables) == run([sys.executable, *arguments], tmp_path, **variables)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_a_signal_reaches_the_proxy(number: int, status: int, tmp_path: Path) -> None:
    port = free_port()
    environ = uncovered_environment() | {"HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "1"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with spawn(forking(str(ROOT / "cot_proxy.py"), "--demo"), cwd=tmp_path, env=environ, **quiet) as process:
        eventually(lambda: is_listening(port) or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(60) == status
    assert not is_listening(port)
