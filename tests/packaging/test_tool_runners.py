"""The wheel (docs/deploy.md), run by uv and by pipx, which install what it needs from the package index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.client import chat
from tests.support.processes import Proxy, clean_environment

#: What the runners say where there is no package index.
UNREACHABLE = re.compile(
    r"error sending request|dns error|failed to fetch|Could not connect|NewConnectionError|Failed to establish|"
    r"Name or service not known|name resolution|ConnectTimeout|SSLError|ProxyError|timed out",
    re.IGNORECASE,
)
#: Where the index is, and how it is reached.
KEPT = ("UV_", "PIP_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
RUNNERS = {"uv": ["uv", "tool", "run", "--from"], "pipx": ["pipx", "run", "--spec"]}
#: Less than the time after which a test counts as hanging.
LONGEST_S = 240


@pytest.mark.parametrize("name", RUNNERS)
def test_a_runner_serves_the_demo(name: str, wheel: Path, tmp_path: Path) -> None:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed: release/requirements.lock has it")
    command = [*RUNNERS[name], str(wheel), "argoproxy"]
    folders = {"PIPX_HOME": str(tmp_path / "pipx"), "UV_TOOL_DIR": str(tmp_path / "uv")}
    environ = {key: value for key, value in os.environ.items() if key.startswith(KEPT)} | folders
    install(command, {**clean_environment(), **environ}, tmp_path)
    proxy = Proxy(tmp_path, {**environ, "WORKERS": "1"}, [*command, "serve", "--demo"])
    try:
        assert "Hello!" in chat(proxy.port, model="demo").json["choices"][0]["message"]["content"]
    finally:
        proxy.stop()


def install(command: list[str], environ: dict[str, str], folder: Path) -> None:
    """Have a runner make its environment, which it keeps. Skips the test if the package index can't be reached."""
    try:
        shown = subprocess.run(
            [*command, "--version"],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index did not answer in time")
    if shown.returncode and UNREACHABLE.search(shown.stderr):
        pytest.skip("the package index can't be reached")
    assert shown.returncode == 0, shown.stderr
