"""`doctor`: what keeps the proxy from working, and the setting to change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str], program: str) -> int:
    """Run the command with the environment and the folder of this process, and return the exit status."""
    from argoproxy.cli.doctor.examination import main as run  # noqa: PLC0415 its parts are imported without it

    return run(arguments, os.environ, Path.cwd(), program)
