"""The console as a process beside the workers: the master starts it, and starts it again when it has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import argoproxy

#: How long a console that has ended is left alone: one that can't start is no reason for a busy master.
PAUSE_S = 2.0
#: In the environment of a console that a proxy has started: it ends with that proxy.
STARTED_BY_PROXY = "ARGOPROXY_CONSOLE_OF_PROXY"
_PACKAGE_FOLDER = str(Path(argoproxy.__file__).resolve().parent.parent)


def keep_console(log: Any) -> None:
    """Start the console, and keep it running while this process does. Its standard input is a pipe that is never
    written to: it ends with the last process that has the other end."""
    threading.Thread(target=_keep, args=(log,), name="console", daemon=True).start()


def _keep(log: Any) -> None:
    paths = filter(None, (_PACKAGE_FOLDER, os.environ.get("PYTHONPATH", "")))
    environ = {**os.environ, STARTED_BY_PROXY: "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "argoproxy", "console"]
    while True:
        try:
            with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE) as console:  # noqa: S603 fixed words
                console.wait()
        except OSError as error:
            log.warning("code=console_failed: the console can't be started: %s", error.strerror)
        threading.Event().wait(PAUSE_S)
