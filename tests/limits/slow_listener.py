"""A listener that waits, with the outcome of each request, for a file to appear."""

from __future__ import annotations

import time
from pathlib import Path

from argoproxy.api import Outcome

WAIT_S = 120.0


class SlowListener:
    """Waits until there is a file `go-on` in the working folder of the proxy."""

    def __call__(self, outcome: Outcome) -> None:
        """Block for long."""
        until = time.monotonic() + WAIT_S
        while not Path("go-on").exists() and time.monotonic() < until:
            time.sleep(0.05)
