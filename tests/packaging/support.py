"""What the tests of the package share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import clean_environment


def run_pip(folder: Path, *arguments: str) -> None:
    """Run a command of pip for a virtual environment. It has no pip itself. Fails with what pip printed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder), *arguments]
    made = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, timeout=120, check=False)
    assert made.returncode == 0, (made.stdout + made.stderr).decode()
