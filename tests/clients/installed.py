"""The client programs that `tests/clients/install.sh` installs: where they are, and how they are run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, clean_environment, spawn

FOLDER = Path(os.environ.get("ARGOPROXY_CLIENTS", ROOT / ".clients"))
#: How long a client may take: agents of several hundred MiB start slowly on a busy machine.
PATIENCE_S = 240
#: Whatever a client wants from elsewhere is refused at once: update checks, telemetry, lists of models.
NO_NETWORK = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}


def needs(*groups: str) -> pytest.MarkDecorator:
    """Return the mark that skips a test where folders of `packages/` are not installed."""
    missing = [group for group in groups if not (FOLDER / f"{group}.installed").exists()]
    reason = f"not installed: {', '.join(missing)} (tests/clients/install.sh installs it)"
    return pytest.mark.skipif(bool(missing), reason=reason)


def find_program(group: str, name: str) -> str:
    """Return the path of a command of a group."""
    return str(FOLDER / group / ("node_modules/.bin" if group.startswith("node-") else "bin") / name)


def run_client(command: Sequence[str], folder: Path, stdin: str = "", **environ: str) -> str:
    """Run a client in a folder, with a home beside it; return what it shows. What it started ends with it."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    variables = clean_environment() | NO_NETWORK | {"HOME": str(home)} | environ
    variables["PATH"] = f"{FOLDER / 'node' / 'bin'}{os.pathsep}{variables['PATH']}"
    process = spawn(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        shown, _ = process.communicate(stdin.encode(), PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return str(shown.decode(errors="replace"))


def run_node(script: str, folder: Path, stdin: Any = None, **environ: str) -> str:
    """Run a module that may import what is installed in `node-sdks`; return what it shows."""
    modules = folder / "node_modules"
    if not modules.is_symlink():
        modules.symlink_to(FOLDER / "node-sdks" / "node_modules")
    file = folder / "script.mjs"
    file.write_text(script)
    return run_client([find_program("node", "node"), str(file)], folder, json.dumps(stdin), **environ)
