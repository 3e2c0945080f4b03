"""A shell in which the commands of a page are run, one fence after the other, in a copy of a checkout."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.support.pages import Fence
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    fork_server,
    free_port,
    may_fork,
    spawn,
    uncovered_environment,
)

PRELUDE = Path(__file__).with_name("prelude.sh")
#: Each fence ends with this, its exit status and a line end.
END = "\x1e"
#: How long the commands of a fence may take together: some start a proxy, or import a client, on a busy machine.
FENCE_PATIENCE_S = 3 * PATIENCE_S
#: What a page says of places that a test does not have, as patterns, and what stands for them.
PROXY_PORT = re.compile(r"\b(localhost:|127\.0\.0\.1:)5000\b")
PORT_FLAG = re.compile(r"(--(?:expose_)?port[ =])\d+")
MODEL_SERVER = re.compile(r"http://(?:localhost|127\.0\.0\.1|gpu-box|my-server|vllm):(?:8000|8080|11434|30000|1234)\b")

#: Files of a checkout that a clone does not have.
LEFT_OUT = (".env", "config.yaml", "usage.jsonl")


class PageSession:
    """A shell in a folder of its own. Raises AssertionError where a command fails, or does not end."""

    def __init__(self, folder: Path, upstream_url: str, shared_port: int) -> None:
        """At `shared_port` there is a proxy for pages that have started none."""
        self._folder, self._upstream_url, self._shared_port = folder, upstream_url, shared_port
        self._log = folder / "server.log"
        self._port = free_port()
        self._run = 0
        checkout = make_checkout(folder)
        environ = uncovered_environment() | {
            "HOME": str(folder / "home"),
            "PATH": f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "WORKERS": "1",
            "SKIP_URL_VALIDATION": "true",
            "ARGOPROXY_VENV": str(folder / "venv"),
            "PYTHONIOENCODING": "utf-8",
            "PYTHON": sys.executable,
            "PRCTL": str(ROOT / "tests" / "support" / "prctl.py"),
            "SERVER_LOG": str(self._log),
            "SERVER_PORT": str(self._port),
        }
        bash = ["bash", "--noprofile", "--norc"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._bash = spawn(bash, cwd=checkout, env=environ, **pipes)
        self._send(f"source {shlex.quote(str(PRELUDE))}")

    def close(self) -> None:
        """End the shell, and the proxy that it has started."""
        if self._bash.poll() is None:
            self._send("_stop; exit")
        try:
            self._bash.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._bash.kill()
            self._bash.communicate()

    def write(self, name: str, text: str) -> None:
        """Write a file of the checkout, as a page shows it."""
        file = self._folder / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.substitute(text))

    def server_log(self) -> str:
        """Return the log of the proxy that the page has started last."""
        return self._log.read_text()

    def copy(self, folder: Path) -> None:
        """Copy a folder into the checkout."""
        shutil.copytree(folder, self._folder / "checkout" / folder.name)

    def run(self, fence: Fence, script: str) -> tuple[int, str]:
        """Run a script of a fence: the exit status of its last command, and what it printed."""
        self._run += 1
        file = self._folder / f"run-{self._run}"
        file.write_text(self.substitute(script))
        may_fail = "set +e; " if fence.kind == "fails" else ""
        command = {"python": "python", "javascript": "node", "js": "node"}.get(fence.language, "source")
        self._send(f"{may_fail}{command} {shlex.quote(str(file))} </dev/null; printf '{END}%d\\n' $?; set -e")
        return self._read_to_end()

    def substitute(self, text: str) -> str:
        """Put the addresses of the test for those of the page, and a number for the `…` of a key."""
        port = self._port if self._log.exists() else self._shared_port
        text = PROXY_PORT.sub(rf"\g<1>{port}", text)
        text = PORT_FLAG.sub(rf"\g<1>{self._port}", text)
        return MODEL_SERVER.sub(self._upstream_url, text).replace("sk-…", "sk-123456")

    def _send(self, line: str) -> None:
        assert self._bash.stdin
        assert self._bash.poll() is None, "an earlier command of this page failed"
        self._bash.stdin.write(f"{line}\n".encode())
        self._bash.stdin.flush()

    def _read_to_end(self) -> tuple[int, str]:
        assert self._bash.stdout
        shown, until = b"", time.monotonic() + FENCE_PATIENCE_S
        while not (match := re.search(rf"{END}(\d+)\n\Z".encode(), shown)):
            ready, _, _ = select.select([self._bash.stdout], [], [], until - time.monotonic())
            assert ready, f"it does not end:\n{shown.decode()}"
            data = os.read(self._bash.stdout.fileno(), 65536)
            assert data, f"a command failed:\n{shown.decode()}"
            shown += data
        return int(match[1]), shown[: match.start()].decode()


def make_checkout(folder: Path) -> Path:
    """Make what a clone holds, but for tests, and an environment in which everything is installed: the clone."""
    checkout, venv = folder / "checkout", folder / "venv"
    checkout.mkdir(parents=True)
    (folder / "home").mkdir()
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "argoproxy").symlink_to(ROOT / "argoproxy")
    for file in ROOT.iterdir():
        # Those of coverage come and go.
        if file.name not in LEFT_OUT and not file.name.startswith(".coverage") and file.is_file():
            shutil.copy(file, checkout)
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {python_command()} "$@"\n')
    python.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", venv / "installed.txt")
    return checkout


def python_command() -> str:
    """Return, for a shell, what runs Python, the commands of the proxy as forks where a test may do so."""
    if not may_fork({}):
        return shlex.quote(sys.executable)
    stub = ROOT / "tests" / "support" / "forking_python.py"
    return shlex.join([sys.executable, "-I", "-S", str(stub), fork_server({}).path])
