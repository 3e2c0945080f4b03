"""`doctor`, with the settings that a start would have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from argoproxy.cli.doctor import examination


def main(arguments: Sequence[str], program: str) -> int:
    """Run `doctor` and return the exit status."""
    return examination.main(arguments, os.environ, Path.cwd(), program)
