"""Stand-ins for providers, as processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import ROOT, eventually, free_port, is_listening, spawn, uncovered_environment


@contextmanager
def stand_in(name: str, **environ: str) -> Iterator[int]:
    """Run the stand-in for a provider in tests/support/providers, and give its port."""
    port = free_port()
    command = [sys.executable, "-m", f"tests.support.providers.{name}", str(port)]
    process = spawn(command, cwd=ROOT, env={**uncovered_environment(), **environ})
    try:
        eventually(lambda: is_listening(port))
        yield port
    finally:
        process.kill()
        process.wait()
